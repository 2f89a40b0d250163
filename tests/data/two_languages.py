"""Rows of two languages as the stages write them: what the tasks' tests read."""

import numpy as np
import pyarrow as pa

from xinst_jax.data import prompts
from xinst_jax.languages import BUILT_IN

SIZES = {"fi": 40, "sw": 8}
LENGTH = 96


def text(code, index, words=12):
    rng = np.random.default_rng([ord(code[0]), index])
    letters = "aeioukmstl" if code == "fi" else "aeiuwnzkby"
    return " ".join("".join(rng.choice(list(letters), 5)) for _ in range(words))


def pair_rows(code, labels=False):
    rows = []
    for index in range(SIZES[code]):
        row = {
            "id": f"{code}-{index}",
            "lang": code,
            "instruction": f"Ask {code} {index}.",
            "output": text(code, index),
            "split": "held_out" if index % 8 == 7 else "train",
        }
        rows.append(row | ({"label": prompts.LABELS[index % 3]} if labels else {}))
    return rows


def schema_of(rows):
    return pa.Table.from_pylist(rows[:1]).schema


def languages_of(codes):
    return {code: BUILT_IN[code] for code in codes}


def decoded(vocabulary, pairs):
    return [
        (vocabulary.decode(pair.prompt_ids), vocabulary.decode(pair.response_ids))
        for pair in pairs
    ]
