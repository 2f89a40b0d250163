"""Whether a folder holds a model that can be imported, told before its import."""

import dataclasses
import pathlib

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import fit, mapping, safetensors, text_half

_UNUSED = ".rotary_emb.inv_freq"
_COMPARED_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What the import of a model that also reads images leaves out.

    Attributes:
      parts: what it is: ('multi_modal_projector', 'vision_tower').
      tensors: how many.
      size: bytes of them.
    """

    parts: tuple[str, ...]
    tensors: int
    size: int

    def __str__(self) -> str:
        """In words: '439 tensors of multi_modal_projector and vision_tower, 0.84 GB'"""
        parts = " and ".join(self.parts)
        return f"{self.tensors:,} tensors of {parts}, {self.size / 1e9:.2f} GB"


def left_out(folder: pathlib.Path) -> LeftOut | None:
    """What an import leaves out of a folder; None where it takes the whole model.

    Headers are read, and no weights.

    Raises:
      UserError: the folder has no config.json, or damaged or pickled weights.
    """
    record = config_lib.read_base(folder)
    if not text_half.is_whole(record):
        return None
    weights = safetensors.Weights(folder)
    layout = text_half.layout(record, weights.files)
    names = [name for name in weights.files if layout.leaves_out(name)]
    if not names:
        return None
    begun = [part for part in layout.left_out if any(n.startswith(part) for n in names)]
    return LeftOut(
        parts=tuple(sorted(part.split(".")[-2] for part in begun)),
        tensors=len(names),
        size=sum(weights.size(name) for name in names),
    )


def check(folder: pathlib.Path, model: ModelConfig) -> safetensors.Weights:
    """Checks that a folder has a model's tensors, and a tokenizer that fits them.

    Headers and the tokenizer's files are read, and no weights; but where a tied model's
    folder has a head, it and the embedding are read whole and compared.

    Args:
      folder: a Hugging Face folder with safetensors weights.
      model: the shape that its config.json says, as `config.read` gives it.

    Returns:
      The tensors that make up the model, by the names of a text model's folder.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not of floats; the
        weights are damaged or pickled; the tokenizer has ids that the embedding lacks;
        a tied model's head is not the embedding's copy.
    """
    weights = safetensors.Weights(folder)
    layout = text_half.layout(config_lib.read_base(folder), weights.files)
    shapes = mapping.expected_shapes(model)
    expected = {layout.name(name): shape for name, shape in shapes.items()}
    found = {
        name: weights.shape(name)
        for name in weights.files
        if not name.endswith(_UNUSED) and not layout.leaves_out(name)
    }
    names = {row.path: row.name for row in mapping.FAMILIES[model.family]}
    embedding = layout.name(names[mapping.EMBEDDING])
    head = layout.name(names[mapping.HEAD])
    copied = model.tie_embeddings and head in found
    if copied:
        expected[head] = expected[embedding]
    advice = f"Compare {folder / config_lib.CONFIG} with the weights."
    mapping.check(expected, found, weights.listed, advice, weights.files)
    weights.check_floats(found)
    held = f"{embedding} in {weights.files[embedding]}"
    fit.check_folder(folder, model.vocab_size, held)
    if copied:
        _check_copy(weights, head, embedding)
    return weights.renamed({name: layout.name(name) for name in shapes})


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
