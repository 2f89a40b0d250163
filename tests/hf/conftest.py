"""One tiny model of each family, made once a session."""

import pytest

from tests.hf import tiny_models


@pytest.fixture(scope="session", params=tiny_models.FAMILIES)
def tiny_model(request, tmp_path_factory) -> tiny_models.TinyModel:
    """Each family in turn; see `tiny_models.TinyModel`."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    return tiny_models.save(request.param, folder)
