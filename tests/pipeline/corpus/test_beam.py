"""Apache Beam makes of a corpus what the local processes make of it, byte for byte.

Run where requirements-beam.txt is installed:

    python -m pytest tests/pipeline/corpus/test_beam.py
"""

import importlib.util
import pathlib
import warnings

import pytest

from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.corpus import stage

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"
LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "th", "ur")}
INSTALLED = importlib.util.find_spec("apache_beam") is not None
if not INSTALLED:
    warnings.warn(
        "Apache Beam is not installed (requirements-beam.txt): that it makes the same "
        "corpus as the local executor is NOT tested here.",
        stacklevel=1,
    )


def made(path: pathlib.Path, executor: str) -> dict[pathlib.Path, bytes]:
    config = CorpusConfig(path=f"{SAMPLE}/{{lang}}.jsonl", executor=executor, workers=1)
    stage.run(StageDirectory(path, "corpus", {}, {}), config, LANGUAGES)
    return {f.relative_to(path): f.read_bytes() for f in shards.each_file(path)}


@pytest.mark.skipif(not INSTALLED, reason="Apache Beam is not installed")
def test_beam_makes_the_same_files(tmp_path):
    local = made(tmp_path / "local", "local")
    assert made(tmp_path / "beam", "beam") == local and len(local) == 9


@pytest.mark.skipif(INSTALLED, reason="Apache Beam is installed")
def test_without_beam_the_error_says_what_to_install(tmp_path):
    with pytest.raises(UserError, match=r"requirements-beam\.txt"):
        made(tmp_path, "beam")
