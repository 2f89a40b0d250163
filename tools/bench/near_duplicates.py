"""How many documents a second one process looks through for near-duplicates.

    python tools/bench/near_duplicates.py --documents 20000

Documents are drawn from made-up words, 1,000 characters each, a tenth of them copies
with 1% of the words changed. Timed is what the corpus stage does with prepared texts:
signing, ids, equal texts, bands, comparing, clusters. Times are of the process's
processor, so that other work on the machine does not count.
"""

import argparse
import pathlib
import random
import resource
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from xinst_jax.pipeline.corpus import documents, duplicates, near_duplicates
from xinst_jax.pipeline.corpus.documents import Row, Text
from xinst_jax.pipeline.executors import frames
from xinst_jax.pipeline.executors.local import Local

_CHARS, _COPIES, _CHANGED = 1000, 0.1, 0.01


def _texts(count: int) -> list[str]:
    rng = random.Random(0)
    words = [
        "".join(rng.choices("aeiouklmnprstväö", k=rng.randint(2, 11)))
        for _ in range(30_000)
    ]
    found: list[str] = []
    for _ in range(count):
        if found and rng.random() < _COPIES:
            copy = rng.choice(found).split()
            changed = (
                w if rng.random() > _CHANGED else rng.choice(words) for w in copy
            )
            found.append(" ".join(changed))
        else:
            found.append(" ".join(rng.choices(words, k=_CHARS // 7))[:_CHARS])
    return found


def main() -> None:
    """Prints documents a second, and the process's peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    count = parser.parse_args().documents
    texts = _texts(count)
    rows = [
        Row(documents.place(0, n, 0), "fi", Text(f"d{n}", text, "", "", 1.0, 0.5), {})
        for n, text in enumerate(texts)
    ]
    start = time.process_time()
    for chunk in frames.chunks(texts, frames.FRAME_ROWS):
        near_duplicates.signatures(chunk)
    signing = time.process_time() - start
    print(f"signatures alone: {count / signing:,.0f} documents/s")
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        with Local(directory, workers=1) as executor:
            executor.put(rows, "rows")
            start = time.process_time()
            made = duplicates.unique(executor, ["rows"], 0.8)
            search = time.process_time() - start
            kept = sum(isinstance(r.found, Text) for _, r in executor.stream(made))
    print(
        f"the whole search: {count / search:,.0f} documents/s, {kept} of {count} kept"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory, the documents themselves included: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
