"""How much memory a group-by takes, and how many rows a second, by size and by skew.

    python tools/bench/group_by.py --mebibytes 1024 --keys one

Rows are 100 random bytes; four have a key in common, or all have one. Values come
sorted, and as much comes out as goes in. One process does all. Memory is by how much it
grew over what it had when a group-by of one MiB was done, time its processor's.
"""

import argparse
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from xinst_jax.pipeline.executors.executor import Keyed
from xinst_jax.pipeline.executors.local import Local

_ROW_BYTES = 100


def _rows(mebibytes: int) -> Iterator[tuple[int, bytes]]:
    rng = random.Random(0)
    for number in range(mebibytes * 2**20 // _ROW_BYTES):
        yield number, rng.randbytes(_ROW_BYTES)


def _by_four(rows: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((b"%d" % (number // 4), content) for number, content in rows)


def _by_one(rows: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((b"one", content) for _, content in rows)


def _itself(content: bytes) -> bytes:
    return content


def _each(key: bytes, values: Iterator[bytes]) -> Iterator[bytes]:
    before = b""
    for value in values:
        assert before <= value
        before = value
        yield value


def _peak() -> float:
    """The most memory that this process has had, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(s.split()[1]) for s in status if s.startswith("VmHWM")) / 1024


def main() -> None:
    """Prints rows a second, and by how many MiB the process grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--keys", choices=("four", "one"), default="four")
    given = parser.parse_args()
    pairs = _by_four if given.keys == "four" else _by_one
    with (
        tempfile.TemporaryDirectory() as folder,
        Local(pathlib.Path(folder), workers=1) as executor,
    ):
        for mebibytes in (1, given.mebibytes):
            executor.put(_rows(mebibytes), "rows")
            before, start = _peak(), time.process_time()
            rows = Keyed(executor.read("rows"), pairs)
            made = executor.group("grouping", _each, rows, by=_itself)
            seconds = time.process_time() - start
        grown = _peak() - before
        count = sum(1 for _ in executor.stream(made))
    assert count == given.mebibytes * 2**20 // _ROW_BYTES
    print(
        f"{count:,} rows, keys of {given.keys}: {count / seconds:,.0f} rows/s, "
        f"memory grew by {grown:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
