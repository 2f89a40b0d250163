"""The harness gives our model and transformers' the same figures on the same folder."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import torch
import transformers

from tests.hf import tokenizer_kinds
from tests.hf.tokenizer_texts import LANGUAGES, SAMPLE
from xinst_jax.config import MeshConfig
from xinst_jax.data import prompts, vocab
from xinst_jax.errors import UserError
from xinst_jax.hf import config as hf_config
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf import tokenizer as tokenizer_lib
from xinst_jax.mesh import ShardingRules, make_mesh

pytest.importorskip(
    "lm_eval",
    reason="NOT RUN: lm-eval is not installed. Parity of benchmark figures with "
    "transformers is held by nothing else: pip install -r requirements-harness.txt",
)
from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from xinst_jax.eval import chat_format, harness
from xinst_jax.infer.engine import Engine

LENGTH = 96
RULES = ShardingRules()

_CHOICE = """
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: ["A", "B", "C", " D"]
doc_to_target: "{{number % 4}}"
num_fewshot: 1
fewshot_split: test
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: brier_score}]
"""
_SENTENCES = """
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: "{{[question + ' ' + text[:20], question + ' ' + text[20:60]]}}"
doc_to_target: "{{number % 2}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
_ENDINGS = """
output_type: loglikelihood
doc_to_text: "{{text[:60]}} "
doc_to_target: "{{text[60:64]}}"
metric_list: [{metric: perplexity, aggregation: perplexity}, {metric: acc}]
"""
_ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
_WRITTEN = """
output_type: generate_until
doc_to_text: "{{text[:90]}}"
doc_to_target: "{{question}}"
generation_kwargs: {until: ["a", "e"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match}]
"""
TASKS = {
    "choice": _CHOICE,
    "sentences": _SENTENCES,
    "endings": _ENDINGS,
    "rolling": _ROLLING,
    "written": _WRITTEN,
}


def _documents() -> list[dict]:
    """A question and a text of up to 280 characters in each of the ten languages."""
    found = []
    for number, language in enumerate(LANGUAGES):
        line = (SAMPLE / "seed" / f"{language}.jsonl").read_text().splitlines()[0]
        row = json.loads(line)
        text = row["output"][: 60 + 24 * number]
        found.append({"question": row["instruction"], "text": text, "number": number})
    return found


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> TaskManager:
    """Task files of every kind of request over one local file."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(json.dumps(row) for row in _documents()))
    for name, what in TASKS.items():
        data = f"data_files: {{test: {rows}}}"
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{{data}}}\n"
        (folder / f"{name}.yaml").write_text(f"{head}test_split: test{what}")
    return TaskManager(include_path=folder, include_defaults=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random Llama 3 with a trained tokenizer that puts BOS before texts."""
    folder = tokenizer_kinds.make("llama3", tmp_path_factory.mktemp("llama") / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2), jax.devices()[:4])
    model = dataclasses.replace(hf_config.read(folder), compute_dtype="float32")
    weights = harness.Weights(
        folder_lib.import_params(folder, model, RULES, mesh), model, RULES, mesh
    )
    return harness.HarnessModel(weights, vocab.load_vocabulary(folder), 4, LENGTH)


@pytest.fixture(scope="module")
def results(ours, folder, tasks):
    """What the harness finds of both, each answer included."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        # It runs the package manager, for seconds.
        patch.setattr(evaluator, "add_env_info", lambda _: None)
        return [
            evaluator.simple_evaluate(one, tasks=list(TASKS), task_manager=tasks)
            for one in (ours, theirs)
        ]


@pytest.fixture(scope="module")
def spoken(ours, folder, tasks, tmp_path_factory):
    """What it finds of both, spoken to by the answer prompt's chat template."""
    exported = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(folder, exported)
    for name, content in tokenizer_lib.from_folder(
        folder, prompts.chat(), LENGTH
    ).items():
        (exported / name).write_bytes(content)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        exported, dtype=torch.float32
    )
    theirs = HFLM(
        pretrained=model,
        tokenizer=transformers.AutoTokenizer.from_pretrained(exported),
        device="cpu",
        batch_size=4,
        chat_template_args={"output_lang": "Finnish"},
    )
    format_ = chat_format.of_answers(folder, LENGTH)
    mine = harness.HarnessModel(
        ours._weights, ours._vocabulary, 4, LENGTH, chat=format_
    )
    mine.output_lang = "Finnish"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "add_env_info", lambda _: None)
        return [
            evaluator.simple_evaluate(
                one,
                tasks=["choice", "written"],
                task_manager=tasks,
                apply_chat_template=True,
            )
            for one in (mine, theirs)
        ]


def test_a_conversation_is_answered_as_transformers_answers_it(spoken):
    asked = spoken[0]["samples"]["choice"][0]["arguments"][0][0]
    assert asked.count("### Response:") == 2  # an example, and the question
    assert asked.count("Answer in Finnish and the style of an AI assistant.") == 2
    (ours, our_greedy), (theirs, their_greedy) = (
        zip(*_answers(result, "choice"), strict=True) for result in spoken
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4)
    assert our_greedy == their_greedy
    found, expected = (_answers(result, "written") for result in spoken)
    assert found == expected


def _answers(result, task):
    return [
        answer[0] for sample in result["samples"][task] for answer in sample["resps"]
    ]


@pytest.mark.parametrize("task", ["choice", "sentences", "endings"])
def test_every_continuation_scores_as_in_transformers(results, task):
    (ours, our_greedy), (theirs, their_greedy) = (
        zip(*_answers(result, task), strict=True) for result in results
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4)
    assert our_greedy == their_greedy
    assert len(set(ours)) >= len(LANGUAGES)


def test_long_texts_are_read_in_the_same_windows(results, ours):
    found, expected = (_answers(result, "rolling") for result in results)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    longest = max(_documents(), key=lambda row: len(row["text"]))["text"]
    assert len(ours.tok_encode(longest)) > LENGTH


def test_greedy_texts_are_transformers_up_to_the_same_stop_string(results):
    found, expected = (_answers(result, "written") for result in results)
    assert found == expected
    assert len({len(text) for text in found}) > 1


def test_each_row_ends_at_a_stop_string_of_its_own(ours, monkeypatch):
    """As the whole text cut there, and no token is generated beyond what ended it."""
    settings = {"do_sample": False, "max_gen_toks": 12}
    context = _documents()[0]["text"]
    [whole] = ours.generate_until(
        [_request("generate_until", context, settings | {"until": []})]
    )
    ends = [whole[len(whole) // 3], whole[2 * len(whole) // 3]]
    generate, made = Engine.generate, []

    def spy(*arguments, **keywords):
        made.extend(generate(*arguments, **keywords))
        return made

    monkeypatch.setattr(Engine, "generate", spy)
    found = ours.generate_until(
        [
            _request("generate_until", context, settings | {"until": until})
            for until in ([ends[0]], [ends[1]], ["not in any text"])
        ]
    )
    assert found == [*(whole.split(end)[0] for end in ends), whole]
    assert [one.finish for one in made[:2]] == ["stop", "stop"]
    assert len(made[0].tokens) < len(made[2].tokens)


def test_slots_are_as_long_as_the_longest_prompt_needs(ours):
    settings = {"do_sample": False, "max_gen_toks": 2, "until": []}
    ours.generate_until([_request("generate_until", "Hei", settings)])
    assert ours._kept[1].longest_prompt == 64
    assert ours.max_length - 2 > 64


def test_every_figure_of_every_task_is_transformers(results):
    for task in TASKS:
        ours, theirs = (result["results"][task] for result in results)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if isinstance(value, float):
                assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name


def _request(kind, *arguments):
    return Instance(kind, {}, arguments, 0, ("task", 0, 1))


def test_a_context_that_is_too_long_loses_its_start_and_is_counted(ours):
    before = ours.truncated
    text = " ".join(["Hei"] * 2 * LENGTH)
    [(whole, _), (cut, _)] = ours.loglikelihood(
        [
            _request("loglikelihood", context, " sinä")
            for context in (text, text[-4 * (LENGTH + 4) :])
        ]
    )
    assert whole == pytest.approx(cut, abs=1e-5)
    assert ours.truncated == before + 2


def test_a_context_is_scored_once_with_all_that_is_asked_of_it(ours, monkeypatch):
    """Answers are in the order of the requests, however they came."""
    score, asked = harness.continuation_logprobs, []

    def spy(*arguments):
        asked.append(arguments[4:6])
        return score(*arguments)

    monkeypatch.setattr(harness, "continuation_logprobs", spy)
    texts = [("Hei", " sinä"), ("Moi", " taas"), ("Hei", " Aino"), ("Hei", " sinä")]
    requests = [_request("loglikelihood", *pair) for pair in texts]
    found = ours.loglikelihood(requests)
    assert [len(continuations) for continuations in asked[0][1]] == [2, 1]
    assert found[0] == found[3]
    assert len({logprob for logprob, _ in found}) == 3
    turned = ours.loglikelihood(requests[::-1])[::-1]
    np.testing.assert_allclose(
        [logprob for logprob, _ in turned], [logprob for logprob, _ in found], atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 4}, "num_beams"),
        ({"do_sample": True, "temperature": 1.0, "top_k": 5}, "top_k"),
        ({"max_gen_toks": LENGTH}, "the model holds 96"),
    ],
)
def test_generation_that_is_not_ours_is_refused(ours, settings, message):
    with pytest.raises(UserError, match=message):
        ours.generate_until([_request("generate_until", "Hei", settings)])


def test_a_sampled_text_is_drawn_again_from_the_same_seed(ours):
    settings = {"do_sample": True, "temperature": 1.5, "max_gen_toks": 8, "until": []}
    asked = [_request("generate_until", "Hei", settings)] * 3
    first = ours.generate_until(asked)
    assert first == ours.generate_until(asked)
    assert len(set(first)) > 1
