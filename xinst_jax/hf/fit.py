"""Whether a tokenizer and a model belong together: every id has its embedding row."""

import pathlib
from collections.abc import Iterable

import tokenizers

from xinst_jax.errors import UserError
from xinst_jax.hf import sentencepiece_model, special_tokens
from xinst_jax.hf import tokenizer as tokenizer_lib
from xinst_jax.hf.tokenizer import SENTENCEPIECE, TOKENIZER

_WRITTEN = "as it is to be written"


def check_tokenizer(
    tokenizer_json: bytes, rows: int, special: Iterable[int | None]
) -> None:
    """Checks the ids of a tokenizer and of the special tokens against an embedding.

    A special token that is none of `special`, and that therefore no text of ours
    becomes, may lie beyond: Gemma 3's tokenizer has one for images, and its text models
    have no row for it.

    Args:
      tokenizer_json: contents of a `tokenizer.json`.
      rows: rows of the embedding.
      special: ids that the model's configuration names.

    Raises:
      UserError: an id has no row.
    """
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json.decode())
    _check(_text_ids(tokenizer), rows, "The tokenizer", _WRITTEN)
    named = (index for index in special if index is not None)
    _check(named, rows, "The configuration", _WRITTEN)


def check_folder(folder: pathlib.Path, rows: int, embedding: str) -> None:
    """Checks the tokenizer in a folder, if it has one, as `check_tokenizer` does.

    Args:
      folder: a Hugging Face folder.
      rows: rows of the embedding.
      embedding: what errors call it: its tensor and file.

    Raises:
      UserError: an id has no row, or a tokenizer's file cannot be read.
    """
    if (folder / TOKENIZER).is_file():
        path = folder / TOKENIZER
        tokenizer = tokenizer_lib.read(path)
        said = special_tokens.read(path, tokenizer.token_to_id)
        begin = tokenizer_lib.begin_id(tokenizer, str(path))
        text, roles = _text_ids(tokenizer), (begin, said.bos, *said.stops, said.pad)
    elif (folder / SENTENCEPIECE).is_file():
        path = folder / SENTENCEPIECE
        model = sentencepiece_model.read(path)
        text = set(range(len(model.proto.pieces))) - model.special_ids()
        roles = (model.bos, *model.stops, model.pad)
    else:
        return
    _check(text, rows, str(path), embedding)
    named = (index for index in roles if index is not None)
    source = f"What begins, ends or pads a text by the files beside {path}"
    _check(named, rows, source, embedding)


def _text_ids(tokenizer: tokenizers.Tokenizer) -> set[int]:
    """The ids of a tokenizer but for those of special tokens."""
    added = tokenizer.get_added_tokens_decoder()
    special = {index for index, token in added.items() if token.special}
    return {*tokenizer.get_vocab(with_added_tokens=True).values()} - special


def _check(ids: Iterable[int], rows: int, source: str, embedding: str) -> None:
    largest = max(ids, default=0)
    if largest >= rows:
        raise UserError(
            f"{source} has the id {largest}, but the embedding only {rows} rows "
            f"({embedding}): they do not belong together. Take the tokenizer that the "
            "model was trained with."
        )
