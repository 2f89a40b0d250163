"""Tiny models of transformers: one of each family, and two Llamas."""

import functools

import pytest

from tests.hf import tiny_llama, tiny_models


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


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def llama(request, tmp_path_factory):
    """A tiny Llama's folder and model, its head its own and the embedding's."""
    folder = tmp_path_factory.mktemp("llama") / "model"
    return folder, tiny_llama.save_llama(folder, request.param)
