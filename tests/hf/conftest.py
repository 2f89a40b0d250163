"""One tiny model of each family, made once a session."""

import functools

import pytest

from tests.hf import tiny_models


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory):
    """Gives a family's `tiny_models.TinyModel`, made when first asked for."""

    @functools.cache
    def make(family: str) -> tiny_models.TinyModel:
        folder = tmp_path_factory.mktemp(family) / "model"
        return tiny_models.save(family, folder)

    return make


@pytest.fixture(scope="session", params=tiny_models.FAMILIES)
def tiny_model(request, make_tiny) -> tiny_models.TinyModel:
    """Each family in turn; see `tiny_models.TinyModel`."""
    return make_tiny(request.param)
