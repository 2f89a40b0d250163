"""A small run that is ready for its dataset, for the tests of the dataset's parts."""

import json
import pathlib

import numpy as np
import pyarrow as pa

from xinst_jax import languages as languages_lib
from xinst_jax import shards
from xinst_jax.config import RateConfig
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import assemble, generate, rate
from xinst_jax.pipeline.diversity import figures as diversity_figures

LANGUAGES = languages_lib.resolve(("fi", "th", "ur"))
NOUNS = ["river", "lake", "forest", "island", "village", "market", "school", "bridge"]
DIVERSE = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.int32()),
        ("distance", pa.float32()),
        ("weight", pa.float32()),
        ("selected", pa.bool_()),
    ]
)
CORPUS = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "text", "source", "license")]
)


STAGES = (
    *("seed", "corpus", "candidates/round-1", "ratings/round-1"),
    *("candidates/round-2", "ratings/round-2", "diverse"),
)
"""What the card tells the rows of, in this order."""


def text_of(code: str, number: int) -> str:
    words = {"fi": "Järvi on syvä.", "th": "แม่น้ำกว้าง", "ur": "دریا گہرا ہے۔"}
    return f'{words[code]}\n"{number}" \\ \u2028 ' * (number + 1)


def inputs(workdir: pathlib.Path, rows: int = 30) -> None:
    """Of `rows` documents a language, even ones are kept and every fourth is drawn."""
    for number in (1, 2):
        name = f"generator/round-{number}"
        StageDirectory(workdir / name, name, {}, {}).finish({"all": Counts()})
    for code in ("fi", "th", "ur"):
        count = 0 if code == "ur" else rows
        numbers = range(count)
        ids = [f"{code}-{number:03d}" for number in numbers]
        tables = {
            "corpus": (
                CORPUS,
                [
                    {"id": ids[n], "lang": code, "text": text_of(code, n)}
                    | {"source": f"site {n % 2}", "license": "CC0-1.0"}
                    for n in numbers
                ],
            ),
            "candidates/round-2": (
                generate.SCHEMA,
                [
                    {"id": ids[n], "lang": code, "output": text_of(code, n)}
                    | {"instruction": instruction_of(n), "round": 1 + n % 8 // 4}
                    for n in numbers
                ],
            ),
            # The first round rated what it wrote, and something else of the others.
            "ratings/round-1": (
                rate.SCHEMA,
                [
                    {"id": ids[n], "instruction": f"First {n}.", "kept": n % 2 == 0}
                    | {"score": 0.25, "reasons": []}
                    for n in numbers
                ],
            ),
            "candidates/round-1": (generate.SCHEMA, []),
            "ratings/round-2": (
                rate.SCHEMA,
                [
                    {"id": ids[n], "instruction": instruction_of(n), "kept": n % 2 == 0}
                    | {"score": 0.5 + n / 100, "reasons": []}
                    for n in numbers
                ],
            ),
            "diverse": (
                DIVERSE,
                [
                    {"id": ids[n], "cluster": n % 5, "distance": 0.1}
                    | {"weight": 1 / (1 + n), "selected": n % 4 == 0}
                    for n in reversed(numbers)
                    if n % 2 == 0
                ],
            ),
        }
        for stage, (schema, content) in tables.items():
            shards.write_shards(workdir / stage / code, content, schema, 7)
        kept = len(tables["diverse"][1])
        drawn_n = np.array([row["selected"] for row in tables["diverse"][1]], float)
        measured = diversity_figures.compared(
            np.eye(kept, 40, dtype=np.float32),
            np.arange(kept) % 5,
            ["describe"] * kept,
            drawn_n,
            False,
            (0,),
        )
        measured["verb_cap"] = {"asked": 0.15, "applied": 1.0}
        path = workdir / "diverse" / diversity_figures.FILE.format(lang=code)
        shards.write_bytes(path, json.dumps(measured).encode())


def instruction_of(number: int) -> str:
    # Drawn rows (every fourth) have all the nouns; the other kept ones have one.
    noun = NOUNS[number // 4] if number % 4 == 0 else "river"
    return f"Describe the {noun} in {number + 3} words."


def assembled(
    workdir: pathlib.Path, name: str = "dataset", license: str = "other"
) -> tuple[pathlib.Path, dict]:
    inputs = {"corpus": "c0" * 32, "diverse": "d1" * 32}
    stage = StageDirectory(workdir / name, "dataset", {"seed": 5}, inputs)
    stage.begin()
    counts = assemble.run(
        stage,
        LANGUAGES,
        name="quickstart",
        license=license,
        diverse=workdir / "diverse",
        rounds=[
            assemble.Round(
                *(
                    workdir / f"{part}/round-{number}"
                    for part in ("generator", "candidates", "ratings")
                )
            )
            for number in (1, 2)
        ],
        corpus=workdir / "corpus",
        seed_pairs=workdir / "seed",
        rate=RateConfig(min_score_of=(("th", 0.25),)),
        seed=5,
    )
    stage.finish(counts)
    return stage.path, counts


def workdir_in(path: pathlib.Path) -> pathlib.Path:
    """The directory, made a workdir all of whose stages before the dataset are done."""
    inputs(path)
    for stage in STAGES:
        made = StageDirectory(path / stage, stage, {}, {})
        made.finish({"fi": Counts(40, 30, {"menu": 10}), "th": Counts(30, 30)})
    return path
