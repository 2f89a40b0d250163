"""What is known of a tuned model: its losses on held-out pairs, and what it saw."""

import dataclasses
import json
from typing import Any

import numpy as np

from tools.tuning.sets import digest
from xinst_jax import manifest, shards
from xinst_jax.data import loader, prompts
from xinst_jax.errors import UserError
from xinst_jax.eval.likelihood import Likelihood, likelihood
from xinst_jax.pipeline import text_models, training
from xinst_jax.pipeline.workspace import Workspace

_LOSSES = "losses.json"


def losses(workspace: Workspace, stage: str) -> dict[str, Any]:
    """A model's losses on held-out seed pairs, by language and of 'all' tokens.

    They are measured once and kept beside the model.

    Args:
      workspace: the working directory.
      stage: the model's: 'base' or 'model'.

    Returns:
      The fields of `Likelihood`, for each language that has held-out pairs.

    Raises:
      UserError: none has any.
    """
    directory = manifest.StageDirectory(
        workspace.path("losses"),
        "losses",
        {"of": stage, "length": workspace.run.sft.length},
        {one: digest(workspace, one) for one in (stage, "seed", "tokenizer")},
    )
    path = directory.path / _LOSSES
    if not directory.finished():
        directory.begin(redo=True)
        found = {
            code: dataclasses.asdict(one)
            for code, one in _measured(workspace, stage).items()
        }
        shards.write_bytes(path, json.dumps(found, indent=1).encode())
        directory.finish({})
    return json.loads(path.read_bytes())


def _measured(workspace: Workspace, stage: str) -> dict[str, Likelihood]:
    score = text_models.response_scorer(workspace, stage)
    scored: dict[str, list[np.ndarray]] = {}
    run = workspace.run
    for code, language in run.language_table.items():
        pairs, _ = text_models.held_out_pairs(workspace, code)
        if pairs:
            asked = [
                prompts.answer(pair["instruction"], language.name, True, run.prompts)
                for pair in pairs
            ]
            sizes_n = np.array([len(pair["output"]) for pair in pairs])
            responses = [pair["output"] for pair in pairs]
            scored[code] = [*score(asked, responses), sizes_n]
    if not scored:
        raise UserError(
            "No language of the run has a held-out seed pair to measure a loss on: set "
            "SeedConfig.held_out_share above 0, and make the run again."
        )
    scored["all"] = [
        np.concatenate(part) for part in zip(*scored.values(), strict=True)
    ]
    return {code: likelihood(*parts) for code, parts in scored.items()}


def seen(workspace: Workspace) -> dict[str, int]:
    """What a finished tuning saw: examples, those of its set, and different ones.

    The rest are seed pairs.
    """
    config, seed = workspace.run.sft, workspace.seed("model")
    rows = loader.Rows(workspace.path("model") / "data" / training.TRAIN)
    names = [
        name
        for step in range(config.steps)
        for row in rows.row_numbers(step, config.global_batch, seed)
        for name in rows.names(int(row))
    ]
    of_set = {
        f"{code}/{row['id']}"
        for code in workspace.run.languages
        for row in shards.read_rows(workspace.path("dataset") / code, ["id"])
    }
    return {
        "examples": len(names),
        "of_the_set": sum(name in of_set for name in names),
        "pairs_of_the_set": len(of_set.intersection(names)),
    }
