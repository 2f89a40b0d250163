"""How much an instruction helps a model to predict its response, by transformers."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import pytest
import torch
import transformers

from tests.hf import tiny_llama
from tests.pipeline.test_text_models import ROWS, workspace
from xinst_jax.config import PromptConfig, RateConfig, TrainConfig
from xinst_jax.hf.config import SpecialIds
from xinst_jax.models import decoder
from xinst_jax.pipeline import mutual_information, training
from xinst_jax.pipeline.make import answers

_LENGTH, _EOS = 64, 2
# The third pair's response is longer than a row leaves it, the fourth's instruction
# than a whole row; the last one's has a word that the tokenizer does not know.
_PAIRS = [
    ("w5 w9", "w6 w7 w8", "fi"),
    ("w3", "w6 w7 w8", "fi"),
    ("w1 w11 w4", "w60 " * 50, "fi"),
    ("w4 " * 100, "w6 w7", "fi"),
    ("Describe w21 w22", "w1", "fi"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workspace whose stages each have random weights of their own, strong ones."""
    found = workspace(tmp_path_factory.mktemp("run"))
    length = TrainConfig(length=_LENGTH)
    config = dataclasses.replace(found.run, follower=length, rater=length)
    found = dataclasses.replace(found, run=config)

    @functools.cache
    def trained(workspace, stage):
        key = jax.random.key(len(stage))
        params = decoder.init_params(found.model, found.rules, found.mesh, key)
        return jax.tree.map(lambda leaf: 4 * leaf, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "trained_params", trained)
        yield found


def _logprob(run, stage: str, folder: pathlib.Path) -> Callable:
    """log p(a response after what stands before it), by the exported folder."""
    tiny_llama.export(
        training.trained_params(run, stage),
        run.model,
        folder,
        vocab_size=ROWS,
        special=SpecialIds(bos=1, stops=(_EOS,), pad=0),
        tokenizer=tiny_llama.tokenizer_files(ROWS),
    )
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )

    def of_response(before: list[int], response: list[int]) -> float:
        ids = torch.tensor([[*before, *response]])
        with torch.no_grad():
            logs_tv = torch.log_softmax(theirs(ids).logits[0].double(), dim=-1)
        steps = range(len(before) - 1, ids.shape[1] - 1)
        return sum(logs_tv[step, ids[0, step + 1]].item() for step in steps)

    return of_response


def _ids(text: str) -> list[int]:
    """The tokenizer's ids: 'w5' is 5, and every word that is none of these is 0."""
    return [
        int(word[1:]) if word[:1] == "w" and word[1:].isdigit() else 0
        for word in text.split()
    ]


def _frame(instruction: str) -> list[int]:
    """The answer prompt, as the tuned model is asked in Finnish."""
    return _ids(
        "Below is an instruction that describes a task. Write a response that "
        "appropriately completes the request.\n\n### Instruction:\n"
        f"{instruction} Answer in Finnish and the style of an AI assistant. \n\n"
        "### Response:"
    )


def _asked_of_a_follower(instruction: str, response: str) -> list[int]:
    """As in training: half of a row to the response at most, if that is asked for."""
    room = _LENGTH - min(len(response.split()), _LENGTH // 2) - len(_frame(""))
    return _frame(" ".join(instruction.split()[:room]))


# What each model reads with the instruction and without. The tokenizer has no
# beginning of sequence: to the base model a document follows an end.
_READ = {
    "follower/round-2": (_asked_of_a_follower, _frame("")),
    "base": (lambda instruction, _: _ids(instruction)[: _LENGTH - 1], [_EOS]),
}


@pytest.mark.parametrize("stage", _READ)
def test_a_rounds_signal_is_that_of_transformers_with_the_exported_model(
    run, stage, tmp_path
):
    rate = RateConfig(pmi_model=stage.split("/")[0])
    rated = dataclasses.replace(run, run=dataclasses.replace(run.run, rate=rate))
    signals = answers.signals(rated, number=2)
    found_n = signals.pmi(_PAIRS)
    logprob = _logprob(run, stage, tmp_path / "exported")
    asked_of, alone = _READ[stage]
    expected, tokens = [], 0
    for instruction, response, _ in _PAIRS:
        asked = asked_of(instruction, response)
        answer = [*_ids(response), _EOS][: _LENGTH - max(len(asked), len(alone))]
        gain = logprob(asked, answer) - logprob(alone, answer)
        expected.append(gain / len(answer))
        tokens += len(asked) + len(alone) + 2 * len(answer)
    np.testing.assert_allclose(found_n, expected, atol=1e-5)
    assert np.abs(expected).min() > 1e-3
    assert signals.reading.tokens == tokens
    counted = [
        one for pair in _PAIRS for one in mutual_information.work(run, stage)(pair)
    ]
    # The last token of each is predicted and not read.
    assert sum(read + 1 for read, _ in counted) == tokens
    assert all(read >= targets >= 1 for read, targets in counted)


def test_a_follower_is_asked_with_the_runs_own_prompt(run):
    prompts = PromptConfig(
        answer="w7 {instruction} {request} w8", seed_request="In {language}."
    )
    own = dataclasses.replace(run, run=dataclasses.replace(run.run, prompts=prompts))
    count = mutual_information.work(own, "follower/round-2")
    # 'w7 w5 w9 In Finnish. w8' and 'w7 In Finnish. w8', then three words and the end.
    assert count(("w5 w9", "w6 w7 w8", "fi")) == [(6 + 3, 4), (4 + 3, 4)]
