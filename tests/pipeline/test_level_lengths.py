"""No corruption shows by its length: a classifier of lengths alone stays near chance.

The pool is made of the sample's sentences, put together to texts whose lengths are
spread as those of people's instructions and answers are: by a factor of fifty.
"""

import json
import pathlib

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import corruptions, levels, segment
from xinst_jax.pipeline.pair_pool import Pair

_SEED = pathlib.Path(__file__).parents[2] / "data" / "sample" / "seed"
_LANGUAGES = ("fi", "hi", "sw", "th", "ur")
_PAIRS = 50
_OPENINGS = ("Explain", "Describe", "Tell me about", "Give advice on", "Write about")
_TOPICS = (
    "bread baked at home",
    "lakes in the north",
    "travel by train",
    "saving money",
    "the care of young trees",
    "rivers and their bridges",
    "learning a language",
    "the history of tea",
)
_DETAILS = (
    "for a beginner",
    "and why it matters to people in small towns",
    "with two examples from your own country",
    "in a letter to a friend who has asked",
    "as it was when my grandparents were young",
    "so that it can be read aloud in class",
    "because I have to give a talk on it next week",
    "and name what is most often done wrong",
)


def _instruction(rng: np.random.Generator) -> str:
    """An English instruction, about lognormal in its length: 20 to 500 characters."""
    chars = np.exp(rng.normal(4.3, 0.5))
    text = f"{rng.choice(_OPENINGS)} {rng.choice(_TOPICS)}"
    for detail in rng.permutation(_DETAILS):
        if len(text) + len(detail) / 2 > chars:
            break
        text += f" {detail}"
    return f"{text}."


def _pairs(split: str) -> list[Pair]:
    rng = np.random.default_rng(5)
    pairs = []
    for lang in _LANGUAGES:
        lines = (_SEED / f"{lang}.jsonl").read_text("utf-8").splitlines()
        texts = [" ".join(json.loads(line)["output"].split()) for line in lines]
        sentences = [
            text[unit.start : unit.end]
            for text in texts
            for unit in segment._units(text, BUILT_IN[lang])
        ]
        for number in range(_PAIRS):
            chars = np.exp(rng.normal(6, 0.8))
            output = ""
            while len(output) < chars:
                output += f" {rng.choice(sentences)}"
            pair = (f"{lang}-{number}", lang, _instruction(rng), output.strip(), split)
            pairs.append(Pair(*pair))
    return pairs


@pytest.fixture(scope="module", params=["train", "held_out"])
def rows(request) -> list[dict[str, str]]:
    # Ten examples of each pair: each corruption that can be carried out, at least once.
    return levels.make_levels(_pairs(request.param), seed=0, examples_per_pair=10)


def _of_corruption(rows, name: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a corruption, one of each pair."""
    found = [row for row in rows if row["corruption"] == name]
    return {(row["lang"], row["pair"]): row for row in reversed(found)}


def _told(good, spoilt) -> float:
    """Balanced accuracy, on unseen pairs, of a forest that sees two lengths."""
    each = [*good, *spoilt]
    x = [[len(row["instruction"]), len(row["output"])] for row in each]
    y = np.repeat([0, 1], [len(good), len(spoilt)])
    model = RandomForestClassifier(
        20, min_samples_leaf=3, class_weight="balanced", random_state=0
    )
    groups = [row["pair"] for row in each]
    answers = cross_val_predict(model, x, y, groups=groups, cv=GroupKFold(3))
    return float(balanced_accuracy_score(y, answers))


# The good rows are those of the spoilt pairs: every pair has as many of each level
# whatever its lengths, so that another choice of pairs could tell nothing of a level.
@pytest.mark.parametrize("name", [*corruptions.BAD, *corruptions.FAIR])
def test_lengths_do_not_tell_a_corruption(rows, name: str):
    whole, spoilt = _of_corruption(rows, levels.NONE), _of_corruption(rows, name)
    good = [whole[pair] for pair in spoilt]
    assert len(spoilt) > len(whole) / 3
    assert _told(good, list(spoilt.values())) < 0.58
