"""Whether a folder holds a model that can be imported, told before its import."""

import pathlib

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import fit, mapping, safetensors

_UNUSED = ".rotary_emb.inv_freq"
_COMPARED_ROWS = 4096


def check(folder: pathlib.Path, model: ModelConfig) -> safetensors.Weights:
    """Checks that a folder has a model's tensors, and a tokenizer that fits them.

    Headers and the tokenizer's files are read, and no weights; but where a tied model's
    folder has a head, it and the embedding are read whole and compared.

    Args:
      folder: a Hugging Face folder with safetensors weights.
      model: the shape that its config.json says, as `config.read` gives it.

    Returns:
      The folder's tensors.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not of floats; the
        weights are damaged or pickled; the tokenizer has ids that the embedding lacks;
        a tied model's head is not the embedding's copy.
    """
    weights = safetensors.Weights(folder)
    expected = mapping.expected_shapes(model)
    found = {
        name: weights.shape(name)
        for name in weights.files
        if not name.endswith(_UNUSED)
    }
    names = {row.path: row.name for row in mapping.FAMILIES[model.family]}
    embedding, head = names[mapping.EMBEDDING], names[mapping.HEAD]
    copied = model.tie_embeddings and head in found
    if copied:
        expected[head] = expected[embedding]
    mapping.check(expected, found, str(folder))
    weights.check_floats(found)
    fit.check_folder(folder, model.vocab_size)
    if copied:
        _check_copy(weights, head, embedding)
    return weights


def _check_copy(weights: safetensors.Weights, head: str, embedding: str) -> None:
    """Checks that two tensors of one shape are equal byte for byte."""
    rows, width = weights.shape(head)
    parts = (
        (slice(start, start + _COMPARED_ROWS), slice(0, width))
        for start in range(0, rows, _COMPARED_ROWS)
    )
    same = weights.dtype(head) == weights.dtype(embedding) and all(
        weights.read(head, part).tobytes() == weights.read(embedding, part).tobytes()
        for part in parts
    )
    if not same:
        raise UserError(
            f"{weights.files[head]}: {head} differs from {embedding}, but config.json "
            "says tie_word_embeddings: true. Set it to false if the head is its own."
        )
