"""What looking for the n-grams of evaluation sets costs: memory, and time per text.

    python tools/bench/decontamination.py --n-grams 10000000

Evaluation items are 40 words each, made up; texts have 150 words, some 1,000
characters, of the same ones. The index is what the corpus stage makes of evaluation
sets. Memory of its own is what each process that uses it takes for itself, resident
memory has what all of them share in it too. Times are of the process's processor.
"""

import argparse
import json
import multiprocessing
import pathlib
import random
import resource
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.executors import functions

_ITEM_WORDS, _TEXT_WORDS, _TEXTS = 40, 150, 2000


def _words() -> list[str]:
    rng = random.Random(0)
    letters = "aeiouklmnprstväö"
    return ["".join(rng.choices(letters, k=rng.randint(2, 11))) for _ in range(100_000)]


def _memory(name: str) -> float:
    """MiB of a line of the kernel's account of this process."""
    text = pathlib.Path("/proc/self/smaps_rollup").read_text()
    lines = [line.split() for line in text.splitlines() if line.startswith(name)]
    return sum(int(line[1]) for line in lines) / 1024


def _peak() -> float:
    """The most MiB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _look(path: str, words: list[str]) -> dict[str, float]:
    """What a process that looks through texts takes and how fast it is."""
    rng = random.Random(1)
    texts = [" ".join(rng.choices(words, k=_TEXT_WORDS)) for _ in range(_TEXTS)]
    own, resident = _memory("Anonymous"), _memory("Rss")
    find = functions.load(pathlib.Path(path))
    for text in texts:
        find(text)
    start = time.process_time()
    for text in texts:
        find(text)
    seconds = time.process_time() - start
    return {
        "own": _memory("Anonymous") - own,
        "resident": _memory("Rss") - resident,
        "texts": _TEXTS / seconds,
    }


def main() -> None:
    """Prints the index's bytes, the time to make it, and what two processes take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-grams", type=int, default=1_000_000)
    count = parser.parse_args().n_grams
    words, rng = _words(), random.Random(2)
    gram_words = decontamination.DEFAULT.gram_words
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "set.jsonl"
        with path.open("w") as file:
            for _ in range(count // (_ITEM_WORDS - gram_words + 1)):
                item = " ".join(rng.choices(words, k=_ITEM_WORDS))
                file.write(json.dumps({"question": item}) + "\n")
        before, start = _peak(), time.process_time()
        index = decontamination.read([str(path)], ["fi"])
        seconds = time.process_time() - start
        peak = _peak() - before
        each = index.grams.nbytes / len(index.grams)
        print(
            f"{len(index.grams):,} n-grams: {index.grams.nbytes / 2**20:,.0f} MiB, "
            f"{each:.1f} bytes each, read in {seconds:.0f} s with {peak:,.0f} MiB"
        )
        function = pathlib.Path(folder) / "function"
        with function.open("wb") as file:
            file.writelines(functions.parts(index.find))
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            for found in pool.starmap(_look, [(str(function), words)] * 2, 1):
                print(
                    f"a process: {found['own']:,.0f} MiB of its own, "
                    f"{found['resident']:,.0f} MiB resident, "
                    f"{found['texts']:,.0f} texts/s"
                )


if __name__ == "__main__":
    main()
