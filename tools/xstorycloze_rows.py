"""XStoryCloze as its authors publish it, as the rows that `benchmark` reads.

python tools/xstorycloze_rows.py spring2016.val.sw.tsv.split_20_80_eval.tsv \
    bench/xstorycloze/sw/eval.jsonl

The files lie beside the loading script in the set's repository on the Hugging Face
hub, juletxara/xstory_cloze: a heading, then eight columns parted by tabs (id, four
sentences, two endings, the number of the right one).
"""

import argparse
import csv
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.eval.benchmarks import COVERAGE

_COLUMNS = 8


def rows(path: pathlib.Path) -> list[dict[str, str | int]]:
    """The rows of one of its files, with the fields of the harness' task.

    Raises:
      UserError: the file is none of its.
    """
    fields = COVERAGE["xstorycloze"].fields
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t")
        next(lines, None)
        for line in lines:
            place = f"{path}, line {lines.line_num}"
            if len(line) != _COLUMNS:
                raise UserError(
                    f"{place} has {len(line)} columns parted by tabs; expected "
                    f"{_COLUMNS}: an id, {', '.join(fields)}."
                )
            if line[-1].strip() not in ("1", "2"):
                raise UserError(
                    f"{place}: the right ending is {line[-1]!r}; expected 1 or 2."
                )
            texts = dict(zip(fields, line[1:-1], strict=False))
            found.append({**texts, fields[-1]: int(line[-1])})
    if not found:
        raise UserError(f"{path} has no row below its heading.")
    return found


def main() -> int:
    """Writes the rows; 2 where the file is none of the set's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=pathlib.Path)
    parser.add_argument("rows", type=pathlib.Path)
    options = parser.parse_args()
    try:
        lines = [json.dumps(r, ensure_ascii=False) for r in rows(options.published)]
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    shards.write_bytes(options.rows, ("\n".join(lines) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
