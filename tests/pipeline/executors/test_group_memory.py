"""A group-by needs the memory it is given, however much there is and however skewed.

Each case is a process of its own, whose peak of resident memory the kernel counts.
"""

import json
import os
import subprocess
import sys

import pytest

# With 2 MiB of pickled rows at once, in one file that all the keys share.
SCRIPT = """
import json, pathlib, random, sys
from xinst_jax.pipeline.executors import executor, frames, local, sorting

def memory(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

def rows(mebibytes):
    rng = random.Random(0)
    for number in range(mebibytes * 2**9):
        yield number, rng.randbytes(2000)

def pairs(rows):
    for number, content in rows:
        yield (b"one" if skewed else b"%d" % (number % 4000)), (content, number)

def content(value):
    return value[0]

def each(key, values):
    before = b""
    for found, number in values:
        assert before <= found
        before = found
        yield number.to_bytes(8), found

def shard(key):
    return key[:-1]

mebibytes, skewed, bound = int(sys.argv[1]), sys.argv[2] == "skewed", int(sys.argv[3])
sorting.MEMORY_BYTES, sorting._FAN_IN, local._MAX_PARTITIONS = bound, 4, 1
with local.Local(pathlib.Path(sys.argv[4]), workers=1) as made:
    made.put(rows(1), "few")
    keyed = lambda name: executor.Keyed(made.read(name), pairs)
    list(made.stream(made.group("warm", each, keyed("few"), by=content)))
    made.put(rows(mebibytes), "rows")
    before = memory("VmRSS")
    found = made.group("grouped", each, keyed("rows"), by=content)
    keys = [key for key, _ in made.ordered(found, shard)]
    assert keys == [n.to_bytes(8) for n in range(mebibytes * 2**9)]
print(json.dumps(memory("VmHWM") - before))
"""
BOUND_BYTES = 2 * 2**20
# The rows as objects, the frames that are merged, and what is being packed.
STATED_MIB = 12


def peak(folder, mebibytes, keys, bound=BOUND_BYTES):
    """MiB by which a process grew while it grouped that many MiB of rows."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(mebibytes), keys, str(bound), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert not done.returncode, done.stderr
    print(mebibytes, keys, bound, done.stdout)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("keys", ["even", "skewed"])
def test_the_peak_stays_and_twice_the_rows_do_not_raise_it(tmp_path, keys):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = peak(tmp_path / "one", 8, keys), peak(tmp_path / "two", 16, keys)
    assert one < STATED_MIB and two < STATED_MIB
    assert two < one + 5


def test_without_the_bound_the_peak_is_over_what_is_stated(tmp_path):
    assert peak(tmp_path, 32, "even", bound=2**40) > 2 * STATED_MIB
