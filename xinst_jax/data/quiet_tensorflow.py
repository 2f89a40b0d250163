"""TensorFlow, imported without what its start-up writes to the terminal, CPU only.

Its C++ libraries announce themselves on standard error before any log level applies,
and would take a GPU's whole memory for input pipelines that never use it. Other modules
take `tf` and `seqio` from here.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Sends what is written to file descriptor 2 to nowhere while the block runs."""
    sys.stderr.flush()
    kept = os.dup(2)
    with pathlib.Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _silenced():
    import seqio as seqio
    import tensorflow as tf

    # Refused once TensorFlow has been used, by whoever imported it before us.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
