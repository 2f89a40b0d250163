"""Root verbs and object nouns, held against pairs written by hand."""

import builtins
import collections

import pytest

from xinst_jax.pipeline import verbs

_EXAMPLES = (
    ("Write a short poem about rain.", ("write", "poem")),
    ("Explain the causes of the war.", ("explain", "cause")),
    ("Give me three tips for sleeping.", ("give", "tip")),
    ("How do I plan a trip to Rome?", ("plan", "trip")),
    (
        "Could you please describe the process of making cheese?",
        ("describe", "process"),
    ),
    ("List seven things to pack for a winter day hike.", ("list", "thing")),
    ("Summarize the main ideas of Plato.", ("summarize", "idea")),
    ("Tell me a joke", ("tell", "joke")),
    ("Can you help me write a letter to my boss?", ("write", "letter")),
    ("Name five fruits.", ("name", "fruit")),
    ("Design a logo for a bakery.", ("design", "logo")),
    ("I want you to draft an email to a teacher.", ("draft", "email")),
    ("Recommend vegetables that grow well in sacks.", ("recommend", "vegetable")),
    ("Compare cats and dogs.", ("compare", "cat")),
    ("Please list the planets.", ("list", "planet")),
    ("Create a recipe for bread.", ("create", "recipe")),
    ("Translate the sentence into French.", ("translate", "sentence")),
    ("Identify which instrument is a string instrument.", ("identify", "instrument")),
    ("Write stories, then sing songs.", ("write", "story")),
    ("Announce the winners of the match!", ("announce", "winner")),
    ("Provide an analysis of the news.", ("provide", "analysis")),
    ("Share the steps, in order.", ("share", "step")),
    ("Given a text about tea, extract the names.", ("extract", "name")),
    ("Why do lakes freeze? Give three reasons.", ("give", "reason")),
)


@pytest.mark.parametrize(("instruction", "pair"), _EXAMPLES)
def test_finds_root_verb_and_noun(instruction: str, pair: tuple[str, str]):
    assert verbs.verb_noun(instruction) == pair


@pytest.mark.parametrize(
    "instruction",
    ["What is the capital of Finland?", "Write", "", "12345", "Hei maailma", "?!."],
)
def test_text_without_both_has_no_pair(instruction: str):
    assert verbs.verb_noun(instruction) is None


def test_needs_no_nltk_corpus(monkeypatch: pytest.MonkeyPatch):
    nltk = pytest.importorskip("nltk")

    def refuse(*_args, **_kwargs):
        raise AssertionError("an nltk corpus was asked for")

    monkeypatch.setattr(nltk.data, "find", refuse)
    monkeypatch.setattr(nltk, "download", refuse)
    opened = builtins.open

    def watch(file, *args, **kwargs):
        assert "nltk_data" not in str(file)
        return opened(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", watch)
    verbs._tag.cache_clear()
    assert verbs.verb_noun("Explain the tides.") == ("explain", "tide")


def test_counts_are_of_instructions_with_a_pair():
    texts = ["Write a poem.", "Write two poems.", "Tell a joke.", "Why?"]
    counts = verbs.count_pairs(texts)
    assert counts == collections.Counter({("write", "poem"): 2, ("tell", "joke"): 1})
    assert verbs.distinct_pairs(texts) == 2


def test_top_verbs_are_ordered_by_count_then_alphabet():
    counts = {
        ("write", "news"): 3,
        ("write", "poem"): 3,
        ("write", "email"): 1,
        ("tell", "joke"): 2,
        ("give", "tip"): 2,
        ("make", "list"): 1,
    }
    assert verbs.top_verbs(counts, verbs=3, nouns=2) == [
        ("write", 7, [("news", 3), ("poem", 3)]),
        ("give", 2, [("tip", 2)]),
        ("tell", 2, [("joke", 2)]),
    ]
