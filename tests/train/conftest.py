import pytest

from tests.train.small_run import run
from xinst_jax.train.checkpoint import params_digest


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    result = run(directory)
    return result, params_digest(result.params), directory
