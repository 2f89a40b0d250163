"""A Hugging Face folder as opponent and as judge, beside transformers on the same."""

import numpy as np
import pytest
import torch
import transformers

from tests.hf import tiny_models
from xinst_jax import run_file
from xinst_jax.errors import UserError
from xinst_jax.eval import answers, verdicts
from xinst_jax.eval.answers import Question
from xinst_jax.eval.judge_prompts import PROMPTS, Comparison
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import answering
from xinst_jax.pipeline.workspace import Workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random Qwen 3 with a tokenizer, saved as its publisher would."""
    return tiny_models.qwen3_folder(tmp_path_factory.mktemp("models") / "Qwen3-0")


@pytest.fixture(scope="module")
def workspace(folder, tmp_path_factory):
    overrides = [
        "LANGUAGES=('fi',)",
        f"JUDGE={str(folder)!r}",
        "PROMPT='verdict'",
        f"OPPONENTS=({str(folder)!r},)",
        "ModelConfig.compute_dtype='float32'",
        "DecodeConfig.prompt_buckets=(512,)",
        "DecodeConfig.batch_rows=8",
        "answer/DecodeConfig.max_new_tokens=8",
        "answer/DecodeConfig.temperature=0.0",
    ]
    run = run_file.load("gin/runs/evaluate.gin", overrides)
    return Workspace(run, tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_a_folder_answers_as_transformers_continues_the_papers_prompt(
    folder, workspace
):
    (answerer,) = answering.opponents(workspace, seed=1).values()
    assert answerer.settings["model"] == "Qwen3-0"
    question = Question("s/fi/q/1", "Describe the sea.", BUILT_IN["fi"], False, 1)
    (answer,) = answerer.load([question])([question])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )
    ids = tokenizer(answers.prompt(question), return_tensors="pt")["input_ids"]
    said = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    assert answer.text == tokenizer.decode(said, skip_special_tokens=True)


def test_a_question_too_long_for_a_model_is_named_before_any_is_answered(workspace):
    (answerer,) = answering.opponents(workspace, seed=1).values()
    assert answerer.settings["no_repeat_ngram"] == workspace.run.answer.no_repeat_ngram
    short, long = (
        Question(f"s/fi/{name}/1", text, BUILT_IN["fi"], False, 1)
        for name, text in (("a", "Describe the sea."), ("b", "Describe it. " * 400))
    )
    with pytest.raises(UserError, match=r"Question s/fi/b/1 is \d+ tokens .* 512"):
        answerer.load([short, long])


@pytest.mark.slow
def test_a_folder_judges_by_the_probabilities_that_transformers_gives(
    folder, workspace
):
    judge = answering.judge(workspace)
    shown = [
        Comparison("Describe the sea.", "Meri on sininen.", "It is blue.", "Finnish"),
        Comparison("Describe the sea.", "It is blue.", "Meri on sininen.", "Finnish"),
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )
    labels = [tokenizer(letter)["input_ids"][0] for letter in verdicts.LETTERS]
    for comparison, said in zip(shown, judge(shown), strict=True):
        text = PROMPTS["verdict"].text(comparison)
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
        expected = torch.log_softmax(logits, -1)[labels].numpy()
        reading = verdicts.read_logprobs(expected.tolist())
        np.testing.assert_allclose(
            [said.reading.first, said.reading.second],
            [reading.first, reading.second],
            atol=1e-4,
        )
        assert said.reading.winner == reading.winner
