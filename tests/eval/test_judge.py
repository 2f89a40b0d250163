import numpy as np
import pytest

from tools.stub_endpoint import Stub
from xinst_jax.config.judging import EndpointConfig
from xinst_jax.eval import judge as judge_lib
from xinst_jax.eval import planted, verdicts
from xinst_jax.eval.endpoint import Endpoint
from xinst_jax.eval.judge import Pair, Said, chosen, judged
from xinst_jax.eval.judge_prompts import PROMPTS, Comparison
from xinst_jax.languages import BUILT_IN


def pair(number, answer, opposing, lang="fi"):
    return Pair(
        "answers", "sample", f"q{number}", lang, "base", "Name it.", answer, opposing
    )


def longer_wins(shown):
    return [
        Said(
            verdicts.Reading(
                float(len(c.first)),
                float(len(c.second)),
                "first" if len(c.first) > len(c.second) else "second",
            ),
            "",
        )
        for c in shown
    ]


def test_every_pair_is_shown_in_both_orders():
    pairs = [pair(1, "mine", "theirs, longer"), pair(2, "mine, longer", "theirs", "ur")]
    shown = judge_lib.comparisons(pairs, BUILT_IN)
    assert shown[0] == Comparison("Name it.", "mine", "theirs, longer", "Finnish")
    assert shown[1] == Comparison("Name it.", "theirs, longer", "mine", "Finnish")
    assert shown[2].language == "Urdu"
    rows = judged(pairs, BUILT_IN, longer_wins, "agree")
    assert [row["outcome"] for row in rows] == ["loss", "win"]
    first = rows[0]
    assert first["forward"] == first["backward"] == "loss"
    assert first["forward_score"] == first["backward_score"] == len("mine")
    assert first["backward_opposing_score"] == len("theirs, longer")


def test_a_judge_that_always_prefers_the_first_gives_ties():
    def biased(shown):
        return [Said(verdicts.read_letter("[[A]]"), "[[A]]") for _ in shown]

    rows = judged([pair(1, "a", "b")], BUILT_IN, biased, "agree")
    assert rows[0]["outcome"] == "tie"
    assert (rows[0]["forward"], rows[0]["backward"]) == ("win", "loss")


@pytest.mark.parametrize("prompt", list(PROMPTS))
def test_an_endpoint_that_misbehaves_leaves_no_pair_unaccounted_for(prompt, tmp_path):
    plan = ("ok", "429", "prose", "out_of_range", "500", "empty", "malformed", "ok")
    config = {"model": "stub", "key_variable": "", "attempts": 20}
    pairs = [pair(i, "yksi kaksi kolme " * (i % 5), "neljä viisi") for i in range(10)]
    with Stub(plan) as stub:
        endpoint = Endpoint(
            EndpointConfig(url=stub.url, **config), tmp_path, sleep=lambda seconds: None
        )
        asking = judge_lib.endpoint_judge(endpoint, prompt)
        rows = judged(pairs, BUILT_IN, asking, "agree")
        asked = len(stub.seen)
        again = judged(pairs, BUILT_IN, asking, "sum")
        assert len(stub.seen) == asked
    assert [row["id"] for row in rows] == [p.id for p in pairs]
    failed = [row for row in rows if row["outcome"] == "unjudged"]
    assert failed and len(failed) < len(rows)
    assert {row["forward_reason"] or row["backward_reason"] for row in failed} == {
        "out_of_range"
    }
    assert {row["outcome"] for row in again} <= {"win", "tie", "loss", "unjudged"}
    shown = "<score1>" if prompt == "scores" else "[["
    assert all(shown in row["forward_said"] for row in rows)


def test_the_papers_prompt_is_what_its_script_sends():
    # utils/gpt4_eval.py of ZNLP/X-Instruction: the parts that its format joins.
    comparison = Comparison("What is it?", "One", "Two", "Tamil")
    (system, said), (user, text) = PROMPTS["scores"].messages(comparison)
    assert (system, user) == ("system", "user")
    assert said.startswith("We would like to request your feedback on the performance")
    assert text.startswith("Given the question and the answer in Tamil language. ")
    assert "<question>\nWhat is it?\n</question>\n<answer1>\nOne\n</answer1>\n" in text
    assert "<answer2>\nTwo\n</answer2>\n\nSuppose the user only speaks" in text
    assert text.endswith("justification and any other information.\n\n")


def test_text_of_an_answer_is_never_taken_for_a_field():
    comparison = Comparison("{first}", "{second} {", "{language}", "Thai")
    _, (_, text) = PROMPTS["verdict"].messages(comparison)
    assert "<answer1>\n{second} {\n</answer1>" in text


class Reader:
    """A local judge by the number of its prompt's characters."""

    def __init__(self, longest):
        self.longest, self.read = longest, []

    def fits(self, text):
        return len(text) <= self.longest

    def logprobs(self, texts):
        self.read += texts
        return np.log(np.tile([0.5, 0.3, 0.2], (len(texts), 1)))


def test_a_local_judge_is_read_by_its_labels_probabilities():
    reader = Reader(10_000)
    ask = judge_lib.local_judge(reader.logprobs, reader.fits)
    (said,) = ask([Comparison("What?", "One", "Two", "Thai")])
    assert said.reading.winner == "first"
    assert said.reading.first == pytest.approx(0.6)
    assert said.text.startswith("ln p(A) = -0.693, ")
    assert reader.read[0].endswith("Verdict: [[")


def test_a_local_judge_reads_as_much_of_both_answers_as_fits():
    empty = len(PROMPTS["verdict"].text(Comparison("What?", "", "", "Thai")))
    reader = Reader(empty + 101)
    ask = judge_lib.local_judge(reader.logprobs, reader.fits)
    long, short = (
        Comparison("What?", "x" * 400, "y" * 400, "Thai"),
        Comparison("What?", "x" * 400, "y" * 10, "Thai"),
    )
    said = ask([long, short, Comparison("What?" * 40, "a", "b", "Thai")])
    assert reader.read[0].count("x") - reader.read[1].count("x") == 50 - 91
    assert "y" * 50 in reader.read[0] and "y" * 51 not in reader.read[0]
    assert "cut to fit" in said[0].text
    assert said[2].reading.reason == "too_long" and len(reader.read) == 2


def test_which_sample_is_judged_is_by_characters_and_never_by_content():
    rows = [
        {"sample": 2, "answer": "bb"},
        {"sample": 1, "answer": "aaaa"},
        {"sample": 3, "answer": "cc"},
        {"sample": 4, "answer": "dddd"},
    ]
    assert chosen(rows, "first")["sample"] == 1
    assert chosen(rows, "shortest")["sample"] == 2
    assert chosen(rows, "longest")["sample"] == 1


WRITTEN = {
    "fi": [
        {"id": "1", "instruction": "Rain?", "output": "Sade tulee pilvistä."},
        {"id": "2", "instruction": "Bread?", "output": "Leipä leivotaan uunissa."},
    ],
    "ur": [],
    "th": [{"id": "9", "instruction": "Bread?", "output": "ขนมปังอบในเตา"}],
}


def test_planted_pairs_have_the_written_answer_on_the_right_side():
    found = planted.pairs(WRITTEN, 10)
    by_id = {one.id: one for one in found["fi"]}
    assert by_id["1/cut"].opposing == "Sade tulee"
    assert by_id["1/off_topic"].opposing == "Leipä leivotaan uunissa."
    assert by_id["2/off_topic"].opposing == "Sade tulee pilvistä."
    assert by_id["2/wrong_language"].opposing == "ขนมปังอบในเตา"
    assert all(one.answer.endswith(("pilvistä.", "uunissa.")) for one in found["fi"])
    assert [one.kind for one in found["th"]] == ["wrong_language", "cut"]
    assert found["ur"] == []
    assert len(planted.pairs(WRITTEN, 1)["fi"]) == 3


def test_the_judge_is_judged_by_what_it_prefers():
    found = planted.pairs(WRITTEN, 10)["fi"]
    rows = judged(found, BUILT_IN, longer_wins, "agree")
    shown = planted.preferences(rows)
    assert shown["cut"] == planted.Preference(2, 1.0, 0.0, 0)
    assert shown["off_topic"] == planted.Preference(2, 0.5, 0.0, 0)
