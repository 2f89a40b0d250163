"""A small workdir as the pipeline leaves it, with hostile text in every column."""

import dataclasses
import json
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from xinst_jax import shards
from xinst_jax.config import RateConfig
from xinst_jax.data.prompts import LABELS
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import quality, rubric
from xinst_jax.pipeline.dataset_statistics import Compared, statistics
from xinst_jax.pipeline.diversity import figures as diversity_figures

HOSTILE = "<script>alert('planted')</script> & \"quoted\" $x^2$"
TEXTS = {
    "fi": "Ruisleipä leivotaan juureen, ja se säilyy pitkään. ",
    "th": "ข้าวเหนียวมะม่วงเป็นของหวานที่คนไทยนิยมกินในหน้าร้อน ",
    "ur": "بریانی بنانے کے لیے چاول کو آدھے گھنٹے تک بھگو دیں۔ ",
}
VERBS = ("Write a poem", "Describe a river", "List seven cities", "Explain the law")
DOCUMENTS, REJECTED, KEPT, DRAWN = 40, 4, 24, 16


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The workdir, its run's languages, and its run's stages in order."""

    path: pathlib.Path
    languages: dict[str, Language]
    stages: tuple[str, ...]


def make_workdir(path: pathlib.Path) -> Workdir:
    """Writes every stage of a run with two rounds."""
    random = np.random.default_rng(0)
    stages = {
        "corpus": _corpus,
        "seed": _nothing,
        "tokenizer": _nothing,
        "base": _trained,
        **{
            f"{part}/round-{number}": make
            for number in (1, 2)
            for part, make in (
                ("generator", _trained),
                ("candidates", _candidates),
                ("rater", _trained),
                ("ratings", _ratings),
            )
        },
        "diverse": _diverse,
        "dataset": _dataset,
        "model": _trained,
        "hf_model": _nothing,
        "evaluation": _evaluation,
    }
    lines = []
    for number, (name, make) in enumerate(stages.items()):
        config = {"model": _MODEL} if name == "base" else {}
        stage = StageDirectory(path / name, name, config, {})
        stage.begin()
        stage.finish(make(stage.path, random))
        line = {"stage": name, "seconds": 100.5 + number, "resumed": name == "dataset"}
        lines.append(json.dumps(line))
    lines += ['{"stage": "seed", "seconds": 7.25, "resumed": false}', '{"stage": "cut']
    (path / "timings.jsonl").write_text("\n".join(lines))
    return Workdir(path, {code: BUILT_IN[code] for code in TEXTS}, tuple(stages))


@pytest.fixture(scope="session")
def workdir(tmp_path_factory) -> Workdir:
    """One workdir for tests that only read it."""
    return make_workdir(tmp_path_factory.mktemp("run"))


_MODEL = {
    "vocab_size": 1000,
    "num_layers": 2,
    "embed_dim": 100,
    "mlp_dim": 200,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 25,
    "tie_embeddings": True,
}


_LEVELS = [
    {
        "lang": code,
        "label": label,
        "corruption": ("wrong_language", "cut_response", "none")[level],
        "pair": str(pair),
    }
    for code in TEXTS
    for level, label in enumerate(LABELS)
    for pair in range(10)
]


def _table(directory, rows):
    shards.write_table(directory / shards.shard_name(0, 1), pa.Table.from_pylist(rows))


def _text(code, number):
    return f"{number} {HOSTILE} " + TEXTS[code] * 30


def _instruction(number):
    return f"{VERBS[number % len(VERBS)]} number {number}. {HOSTILE}"


def _nothing(path, random):
    return {"all": Counts(12, 12, notes={"pieces": 1000, "share": 0.12345})}


def _corpus(path, random):
    for code in TEXTS:
        _table(
            path / "rejected" / code,
            [
                {
                    "id": f"r{number}",
                    "lang": code,
                    "reason": ("too_short", "near_duplicate")[number % 2],
                    "value": HOSTILE,
                    "threshold": "at least 300",
                    "text": _text(code, number),
                }
                for number in range(REJECTED)
            ],
        )
    dropped = {"too_short": 2, "near_duplicate": 2}
    return {
        code: Counts(DOCUMENTS + REJECTED, DOCUMENTS, dropped, {"segments_cut": 3})
        for code in TEXTS
    }


def _trained(path, random):
    lines = [{"step": step, "loss": 5 - step / 20} for step in range(1, 41)]
    lines += [
        {"step": step, "eval_loss": 5.5 - step / 20, "eval_loss/fi": 6 - step / 20}
        for step in (0, 20, 40)
    ]
    lines[5]["tokens_per_second"] = 1234.0
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 41, "lo'
    (path / "metrics.jsonl").write_text(text)
    return {"all": Counts(100, 90, {"no_target": 10}, {"held_out_loss": 3.5})}


def _candidates(path, random):
    for code in TEXTS:
        _table(
            path / code,
            [
                {
                    "id": f"{code}-{number}",
                    "instruction": _instruction(number),
                    "output": _text(code, number),
                }
                for number in range(DOCUMENTS)
            ],
        )
    return {code: Counts(DOCUMENTS, DOCUMENTS) for code in TEXTS}


def _ratings(path, random):
    for code in TEXTS:
        scores = np.sort(random.uniform(0, 1, DOCUMENTS))[::-1]
        _table(
            path / code,
            [
                {
                    "id": f"{code}-{number}",
                    "instruction": _instruction(number),
                    "score": float(scores[number]),
                    "kept": number < KEPT,
                    "reasons": []
                    if number < KEPT
                    else ["low_score", "refers_to_input"][: 1 + number % 2],
                }
                for number in range(DOCUMENTS)
            ],
        )
    found_nk = random.dirichlet([1, 1, 1], 90)
    measured = quality.measure(found_nk, _LEVELS)
    alone = {"rater": found_nk[:, 2], "pmi": random.normal(size=90)}
    measured["signals"] = {
        name: quality.by_corruption(score_n, _LEVELS) for name, score_n in alone.items()
    }
    (path / "rater_quality.json").write_text(json.dumps(measured))
    dropped = {"low_score": DOCUMENTS - KEPT}
    return {code: Counts(DOCUMENTS, KEPT, dropped) for code in TEXTS}


def _diverse(path, random):
    for code in TEXTS:
        places = random.normal(size=(KEPT, 2)).astype(np.float32)
        points = [{"id": str(n), "x": x, "y": y} for n, (x, y) in enumerate(places)]
        clusters = [
            {
                "size": KEPT // 4,
                "selected": DRAWN // 4,
                "nearest_instruction": _instruction(cluster),
            }
            for cluster in range(4)
        ]
        for name, rows in (("map", points), ("clusters", clusters)):
            table = pa.Table.from_pylist(rows)
            shards.write_table(path / name / f"{code}.parquet", table)
        _table(
            path / code,
            [
                {"id": f"{code}-{n}", "cluster": n % 4, "selected": n < DRAWN}
                for n in range(KEPT)
            ],
        )
    return {code: Counts(KEPT, DRAWN, {"not_drawn": KEPT - DRAWN}) for code in TEXTS}


def _dataset(path, random):
    for code in TEXTS:
        _table(
            path / code,
            [
                {
                    "instruction": _instruction(number),
                    "output": _text(code, number),
                    "lang": code,
                    "id": f"{code}-{number}",
                    "score": 1 - number / 100,
                    "cluster": number % 4,
                    "weight": 1.0,
                    "source": HOSTILE,
                    "license": "CC0-1.0",
                    "round": 2,
                }
                for number in range(DRAWN)
            ],
        )
    rows = {code: shards.read_rows(path / code) for code in TEXTS}
    instructions = [_instruction(number) for number in range(KEPT)]
    vectors = random.normal(size=(KEPT, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    diversity = diversity_figures.compared(
        vectors,
        np.arange(KEPT) % 4,
        ["write", "describe", "list", "explain"] * (KEPT // 4),
        np.arange(KEPT) < DRAWN,
        False,
        (0,),
    )
    diversity["verb_cap"] = {"asked": 0.15, "applied": 0.25}
    samples = [["Write a poem."] * DRAWN] * 5
    clusters = {"all": 4, "drawn": 3}
    compared = Compared(samples, instructions, diversity, clusters)
    figures = statistics(rows, dict.fromkeys(TEXTS, compared))
    figures["rubric"] = rubric.rubric(RateConfig(), list(TEXTS))
    (path / "statistics.json").write_text(json.dumps(figures))
    return {code: Counts(DRAWN, DRAWN) for code in TEXTS}


def _evaluation(path, random):
    for code in TEXTS:
        _table(
            path / "answers" / code,
            [
                {
                    "id": f"q{number}",
                    "instruction": _instruction(number),
                    "answer": _text(code, number),
                    "in_language": number > 0,
                    "repetition": 0.125,
                    "finish": "length",
                }
                for number in range(5)
            ],
        )
    fidelity = {
        "answers": 5,
        "in_language": 0.8,
        "empty": 0.0,
        "truncated": 1.0,
        "repetition": 0.125,
        "english": 0.02,
    }
    loss = {"loss_per_token": 3.25, "bits_per_character": 1.75}
    figures = {
        code: {
            "name": BUILT_IN[code].name,
            "fidelity": fidelity,
            "likelihood": {} if code == "th" else {"base": loss, "tuned": loss},
        }
        for code in TEXTS
    }
    record = {"models": ["base", "tuned"], "languages": figures}
    (path / "evaluation.json").write_text(json.dumps(record))
    return {code: Counts(5, 5) for code in TEXTS}
