"""What becomes of a text or a pair under a configuration, in a few words."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax import shards
from xinst_jax.config import (
    CorpusConfig,
    DiversifyConfig,
    RateConfig,
    SeedConfig,
    TranslateConfig,
)
from xinst_jax.errors import UserError
from xinst_jax.eval.completions import Completion
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import rate, rules, seed, translate
from xinst_jax.pipeline.corpus import stage
from xinst_jax.pipeline.corpus.documents import Document, Text
from xinst_jax.pipeline.corpus.prepare import prepare
from xinst_jax.pipeline.diversity.draw import draw

SHORT = {"min_chars": 20, "target_chars": 200, "max_chars": 400}
LANGUAGES = {**BUILT_IN, "xx": Language("xx", "Unknown")}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A configuration, and what is asked of it."""

    config: Any
    of: Callable[[Any], str]


def document(
    text: str, code: str = "fi", language: Language | None = None, **settings: Any
) -> Verdict:
    """The lengths of a document's texts, or why they are dropped; then what was cut."""

    def of(config: CorpusConfig) -> str:
        found = prepare(
            Document("a", text, "", ""), config, language or LANGUAGES[code]
        )
        texts = (
            str(len(one.text)) if isinstance(one, Text) else one.reason
            for one in found.texts
        )
        return " ".join([*texts, *(f"-{name}" for name in found.notes)])

    return Verdict(CorpusConfig(**{**SHORT, **settings}), of)


def corpus(
    texts: Sequence[str], code: str = "fi", sets: Sequence[str] = (), **settings: Any
) -> Verdict:
    """The numbers of the documents of which something is kept, by the whole stage."""

    def of(config: CorpusConfig) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            _write(path / "raw.jsonl", [{"text": text} for text in texts])
            _write(path / "set.jsonl", [{"item": item} for item in sets])
            config = dataclasses.replace(
                config,
                path=str(path / "raw.jsonl"),
                evaluation_sets=(str(path / "set.jsonl"),) if sets else (),
            )
            out = StageDirectory(path / "out", "corpus", {}, {})
            try:
                stage.run(out, config, {code: LANGUAGES[code]})
            except UserError as error:
                return _brief(error)
            rows = shards.read_rows(path / "out" / code, ["raw_row"])
            return " ".join(str(row["raw_row"]) for row in rows)

    base = {**SHORT, "quality_filters": False, "workers": 1, "min_lid_prob": 0.0}
    return Verdict(CorpusConfig(**{**base, **settings}), of)


def doubt(text: str, code: str) -> float:
    """A model of what should not be used that is in two minds."""
    return 0.7


def seeds(
    rows: Sequence[Mapping[str, str]], sets: Sequence[str] = (), **settings: Any
) -> Verdict:
    """Instructions and lengths of responses of the pairs that are kept."""

    def of(config: SeedConfig) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            _write(path / "raw.jsonl", rows)
            _write(path / "set.jsonl", [{"item": item} for item in sets])
            config = dataclasses.replace(
                config,
                path=str(path / "raw.jsonl"),
                evaluation_sets=(str(path / "set.jsonl"),) if sets else (),
            )
            try:
                out = StageDirectory(path / "out", "seed", {}, {})
                seed.run(out, config, {"fi": BUILT_IN["fi"]})
            except UserError as error:
                return _brief(error)
            kept = shards.read_rows(path / "out" / "fi", ["instruction", "output"])
            return " ".join(f"{r['instruction']} {len(r['output'])}" for r in kept)

    # Nothing is held out, and so nothing dropped for what is.
    fixed = {"title_template": ("{title}",), "held_out_share": 0.0}
    return Verdict(SeedConfig(**fixed, **settings), of)


def translation(source: str, answer: str) -> Verdict:
    """Why a Finnish translation is refused."""

    def of(config: TranslateConfig) -> str:
        said = Completion("", answer, "stop", -1)
        found = translate.flaw(source, said, config, BUILT_IN["fi"])
        return found.reason if found else "kept"

    return Verdict(TranslateConfig(), of)


def pair(instruction: str, response: str = "Se on vesi. Sitä juodaan.") -> Verdict:
    """The rules that a pair breaks."""

    def of(config: RateConfig) -> str:
        return " ".join(rules.check(instruction, response, config)) or "kept"

    return Verdict(RateConfig(), of)


def scores(*score: float) -> Verdict:
    """Which of some candidates in Finnish are kept for their scores."""

    def of(config: RateConfig) -> str:
        own = config.of_language("fi")
        found = rate.why_not_kept(
            [str(n) for n in range(len(score))],
            np.array(score),
            [()] * len(score),
            own.min_score,
            own.keep_share,
        )
        return " ".join(str(n) for n, why in enumerate(found) if not why)

    return Verdict(RateConfig(), of)


def drawn(cosine: float, verbs: Sequence[str]) -> Verdict:
    """How many of one cluster's pairs are drawn, any two of them this much alike."""

    def of(config: DiversifyConfig) -> str:
        count = len(verbs)
        alike_nn = np.full((count, count), cosine) + (1 - cosine) * np.eye(count)
        vectors_ne = np.linalg.cholesky(alike_nn).astype(np.float32)
        pairs = [{"id": str(n), "score": 0.9 - n / 100} for n in range(count)]
        zeros_n = np.zeros(count, int)
        return str(
            draw(pairs, vectors_ne, zeros_n, verbs, config, "s").selected_n.sum()
        )

    return Verdict(DiversifyConfig(verb_share=1.0), of)


def _brief(error: UserError) -> str:
    return "too many bad rows" if "max_bad_share" in str(error) else "nothing"


def _write(path: pathlib.Path, rows: Sequence[Mapping[str, str]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
