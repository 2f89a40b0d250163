"""The page of an evaluation: figures, and every pair of answers side by side.

One file that loads nothing: it can be opened from the disk, sent and kept.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from xinst_jax import __version__, shards
from xinst_jax.eval import tables, verdicts
from xinst_jax.languages import Language

_HERE = pathlib.Path(__file__).parent
_STYLE = _HERE.parent / "report"
_WORDS = {
    verdicts.WIN: "better",
    verdicts.TIE: "neither",
    verdicts.LOSS: "worse",
    verdicts.UNJUDGED: "not read",
}


def write(
    path: pathlib.Path,
    title: str,
    record: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    languages: Mapping[str, Language],
) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      title: its heading.
      record: the content of `win_rates.json`.
      rows: the judged pairs, rows of `judge.SCHEMA`, without planted ones.
      languages: by code, in the order of every table.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE, _STYLE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["share"] = tables.share
    environment.filters["preferred"] = tables.preferred
    environment.globals["interval"] = tables.interval
    content = {
        "title": title,
        "version": __version__,
        "record": record,
        "judge": tables.judge_words(record),
        "planted": {
            kind: words.replace("\n", " ") for kind, words in tables.PLANTED.items()
        },
        "languages": languages,
        "sets": list(record["sets"]),
        "outcomes": list(_WORDS),
        "pairs": [_pair(row, languages[row["lang"]]) for row in rows],
        "script": (_HERE / "eval.js").read_text(),
    }
    html = environment.get_template("eval.html.jinja").render(content)
    shards.write_bytes(path, html.encode())


def _pair(row: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A judged pair as the page shows it."""
    orders = [
        {
            "name": name,
            "verdict": _WORDS[row[order]],
            "scores": _scores(row[f"{order}_score"], row[f"{order}_opposing_score"]),
            "reason": row[f"{order}_reason"].replace("_", " "),
            "said": row[f"{order}_said"],
        }
        for order, name in (("forward", "shown first"), ("backward", "shown second"))
    ]
    return dict(row) | {
        "language": language,
        "orders": orders,
        "disagree": row["forward"] != row["backward"],
    }


def _scores(ours: float | None, opposing: float | None) -> str:
    """Both scores of a reading; empty where it was not read.

    >>> _scores(7.0, 4.5)
    '7 : 4.5'
    """
    if ours is None or opposing is None:
        return ""
    return f"{ours:.4g} : {opposing:.4g}"
