"""What the content of a stage depends on beside its inputs."""

from collections.abc import Mapping
from typing import Any

from xinst_jax import __version__
from xinst_jax import config as config_lib
from xinst_jax.languages import WORD_LISTS


def depends(run: config_lib.RunConfig, **parts: Any) -> Mapping[str, Any]:
    """What a stage's content depends on beside its inputs, ready for JSON."""
    return {
        "xinst_jax": __version__,
        "languages": run.language_records,
        **{name: config_lib.as_record(part) for name, part in parts.items()},
    }


def wording(run: config_lib.RunConfig, *names: str) -> Mapping[str, Any]:
    """Of the prompts of these names those that are not the defaults."""
    changed = config_lib.as_record(run.prompts)
    found = {name: changed[name] for name in names if name in changed}
    return {"prompts": found} if found else {}


def lengths(run: config_lib.RunConfig) -> Mapping[str, Any]:
    """What an evaluation set and a text may share, where that is not the default."""
    found = config_lib.as_record(run.corpus.decontamination)
    return {"decontamination": found} if found else {}


def texts(run: config_lib.RunConfig) -> Mapping[str, Any]:
    """What is asked of the seed's texts, where that is not the default."""
    found = config_lib.as_record(run.seed_pairs.texts)
    return {"texts": found} if found else {}


def words(run: config_lib.RunConfig) -> Mapping[str, Any]:
    """The words that the run's languages bring, where any does."""
    given = {
        code: {name: list(getattr(language, name)) for name in WORD_LISTS}
        for code, language in run.language_table.items()
    }
    found = {code: lists for code, lists in given.items() if any(lists.values())}
    return {"words": found} if found else {}


def under(config: config_lib.TrainConfig) -> tuple[str, ...]:
    """What a reader of a training's adapters reads beside them: the base model."""
    return ("base",) if config.lora.rank else ()


def pmi_stage(run: config_lib.RunConfig, number: int) -> str | None:
    """The stage whose model gives a round its mutual information, if one does."""
    stages = {"follower": f"follower/round-{number}", "base": "base", "none": None}
    return stages[run.rate.pmi_model]
