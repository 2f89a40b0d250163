"""Holds a workdir's completions and ledgers against what its endpoint counted.

python tools/audit_endpoints.py runs/quickstart --tally http://127.0.0.1:8377/tally

Whether nothing was lost and nothing was paid twice: every completion is there once,
with a payment; every reservation was paid at most once; no ledger passes a limit. With
--tally (of tools/stub_endpoint.py), also whether as many completions are kept, and as
many tokens paid for, as the endpoint says it sent; it must have been started for this
workdir alone. Exit status 1 where a claim fails.
"""

import argparse
import json
import pathlib
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax import shards
from xinst_jax.eval.ledger import nano_usd, usd

Claim = tuple[bool, str]
"""Whether it holds, and what it says."""


def audit(
    workdir: pathlib.Path,
    limit_usd: float,
    prices: Sequence[float],
    tally: Mapping[str, Any] | None,
) -> list[Claim]:
    """Everything that is claimed of the endpoints of a workdir.

    Args:
      workdir: the run's directory.
      limit_usd: the limit of each ledger, in dollars.
      prices: dollars for a million tokens sent, and received.
      tally: what the endpoint counted, if it says.
    """
    claims: list[Claim] = []
    kept, for_answers = 0, 0
    for folder in sorted((workdir / "completions").glob("*")):
        found = {
            path.stem: json.loads(path.read_bytes())
            for path in sorted(folder.glob("??/*.json"))
        }
        spoken = sum(bool(one["text"]) for one in found.values())
        kept += spoken
        of_ledger, paid = _ledger(folder, set(found), limit_usd)
        for_answers += paid
        claims += [
            (
                all(one["digest"] == name for name, one in found.items()),
                f"{folder.name}: {len(found)} completions kept, each under its "
                f"request's digest, {len(found) - spoken} of them empty",
            ),
            *of_ledger,
        ]
    for stage in ("judgments", "comparison"):
        claims += _readings(workdir / stage / "pairs", workdir / "completions/judge")
    if tally is not None:
        sent = nano_usd(tally["prompt_tokens"], tally["completion_tokens"], *prices)
        claims += [
            (
                kept == tally["answered"],
                f"{kept} completions with a text are kept of {tally['answered']} sent",
            ),
            (
                for_answers == sent,
                f"{usd(for_answers)} were paid for answers, of which the endpoint "
                f"counts {usd(sent)}; it met {tally['requests']}",
            ),
        ]
    return claims


def _ledger(
    folder: pathlib.Path, digests: set[str], limit_usd: float
) -> tuple[list[Claim], int]:
    """Claims on a ledger, and nano-dollars paid for answers by what they counted.

    A request that broke off after it was sent is paid in full, and an answer less.
    """
    path = folder / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    reserved = {line["number"]: line for line in lines if "reserved" in line}
    payments = [line for line in lines if "paid" in line]
    numbers = [line["number"] for line in payments]
    still_open = set(reserved) - set(numbers)
    spent = sum(line["paid"] for line in payments)
    spent += sum(reserved[number]["reserved"] for number in still_open)
    answered = {reserved[line["number"]]["request"] for line in payments}
    limited = spent <= limit_usd * 1e9 or not limit_usd
    claims = [
        (
            len(set(numbers)) == len(numbers) and set(numbers) <= set(reserved),
            f"{folder.name}: {len(reserved)} requests sent, {len(numbers)} settled, "
            f"none twice, {len(still_open)} of unknown fate",
        ),
        (digests <= answered, f"{folder.name}: every completion has its payment"),
        (limited, f"{folder.name}: {usd(spent)} spent, the limit is ${limit_usd:g}"),
    ]
    return claims, sum(
        line["paid"]
        for line in payments
        if line["paid"] < reserved[line["number"]]["reserved"]
    )


def _readings(pairs: pathlib.Path, completions: pathlib.Path) -> list[Claim]:
    """Claims on judged pairs: both orders of each are what the judge said."""
    if not pairs.exists() or not completions.exists():
        return []
    said = {
        json.loads(path.read_bytes())["text"] for path in completions.glob("??/*.json")
    }
    rows = [
        row
        for folder in sorted(pairs.iterdir())
        for row in shards.read_rows(pairs / folder.name)
    ]
    orders = [row[f"{order}_said"] for row in rows for order in ("forward", "backward")]
    unread = sum(row["outcome"] == "unjudged" for row in rows)
    names = [
        (row["kind"], row["question_set"], row["id"], row["lang"], row["opponent"])
        for row in rows
    ]
    return [
        (
            set(orders) <= said,
            f"{pairs.parent.name}: {len(rows)} pairs in both orders, {unread} of them "
            "unjudged; each reading is of a completion that is kept",
        ),
        (len(set(names)) == len(names), f"{pairs.parent.name}: no pair is there twice"),
    ]


def main() -> int:
    """Prints every claim; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=pathlib.Path)
    parser.add_argument("--tally", help="URL of the stub's tally")
    parser.add_argument("--limit", type=float, default=10.0, help="dollars a ledger")
    parser.add_argument("--prices", type=float, nargs=2, default=(2.5, 10.0))
    options = parser.parse_args()
    tally = None
    if options.tally:
        with urllib.request.urlopen(options.tally) as reply:
            tally = json.load(reply)
    claims = audit(options.workdir, options.limit, options.prices, tally)
    for holds, what in claims:
        print("holds " if holds else "FAILS ", what)
    return 0 if claims and all(holds for holds, _ in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
