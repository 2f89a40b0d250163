"""Noise put into clean documents at known rates, and which filter found it.

    python tools/planted_noise.py --corpus 'text/{lang}.jsonl.gz' --languages fi sw

plants every kind of tools/noise/kinds.py in a part of the documents, runs `prepare` on
them with gin/runs/curation_study.gin, and prints five tables: by kind and language
what was caught of what was planted; by kind, which filters did it; by language what was
dropped of the documents that were left as they were, and what was cut out of them and
masked in them; in how many languages each wording of a notice, a caption or a link is
known. Shares have Wilson's 95% intervals; they take
documents for independent, which those of several draws are not quite.
"""

import argparse
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tools.noise import judged, kinds, phrases, tables
from xinst_jax import run_file
from xinst_jax.config import CorpusConfig
from xinst_jax.data import sources
from xinst_jax.languages import Language
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus.documents import Document
from xinst_jax.pipeline.corpus.prepare import prepare

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = ROOT / "gin" / "runs" / "curation_study.gin"


def study(
    path: str, languages: Sequence[str], documents: int, share: float, seed: int
) -> dict[str, judged.Found]:
    """Plants noise in a corpus, prepares it, and says what was caught.

    Args:
      path: the clean documents, with {lang} in its name.
      languages: language codes.
      documents: of each language, drawn evenly over its file.
      share: of the documents, for each kind of noise.
      seed: of the PRNG.
    """
    texts = {code: drawn(path, code, documents) for code in languages}
    planted = kinds.plant(texts, share=share, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        for code, rows in planted.items():
            with gzip.open(directory / f"{code}.jsonl.gz", "wt") as file:
                file.writelines(
                    json.dumps({"id": row.id, "text": row.text}) + "\n" for row in rows
                )
        values = {
            "LANGUAGES": tuple(languages),
            "CORPUS": f"{directory}/{{lang}}.jsonl.gz",
        }
        bindings = [f"{name}={value!r}" for name, value in values.items()]
        subprocess.run(
            [
                *(sys.executable, "-m", "xinst_jax", "prepare"),
                *("--gin_file", str(RUN), "--workdir", str(directory / "run")),
                *(f"--gin.{each}" for each in bindings),
            ],
            check=True,
            cwd=ROOT,
            # The tables are what this tool prints.
            stdout=sys.stderr,
        )
        run = run_file.load(str(RUN), bindings)
        corpus = directory / "run" / "corpus"
        return {
            code: judged.judge(
                corpus, code, rows, _notes(run.corpus, run.language_table[code])
            )
            for code, rows in planted.items()
        }


def _notes(config: CorpusConfig, language: Language) -> judged.Notes:
    """What `prepare` masks in a text and cuts out of it."""

    def notes(text: str) -> Mapping[str, int]:
        return prepare(Document("", text, "", ""), config, language).notes

    return notes


def drawn(path: str, code: str, documents: int) -> list[tuple[str, str]]:
    """(id, text) of as many documents, spread over the file, each text once."""
    rows: Iterator = sources.read(path, code)
    found: dict[str, str] = {}
    for number, row in enumerate(rows):
        text = clean(str(row.fields["text"]))
        found.setdefault(text, f"{code}-{number}")
    step = max(1, len(found) // documents)
    return [(id, text) for text, id in found.items()][::step][:documents]


def main() -> None:
    """Makes the draws and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, help="documents; {lang} in the name")
    parser.add_argument(
        "--languages", nargs="+", required=True, choices=list(phrases.COOKIE_NOTICES)
    )
    parser.add_argument("--documents", type=int, default=500, help="of each language")
    parser.add_argument("--share", type=float, default=0.04, help="for each kind")
    parser.add_argument(
        "--draws", type=int, default=1, help="seeds 0, 1, ...; their counts are added"
    )
    given = parser.parse_args()
    if given.share * len(kinds.KINDS) >= 1:
        parser.error(
            f"--share {given.share} for each of {len(kinds.KINDS)} kinds leaves no "
            f"document alone: expected below {1 / len(kinds.KINDS):.3f}"
        )
    if given.draws < 1:
        parser.error(f"--draws {given.draws}: expected 1 or more")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    draws = [
        study(given.corpus, given.languages, given.documents, given.share, seed)
        for seed in range(given.draws)
    ]
    found = {code: judged.pooled(draw[code] for draw in draws) for code in draws[0]}
    parts = (
        tables.caught(found),
        tables.by_filter(found),
        tables.left_alone(found),
        tables.cut_out_of_clean(found),
        tables.known_wordings(given.languages),
    )
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
