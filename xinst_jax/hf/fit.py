"""Whether a tokenizer and a model belong together: every id has its embedding row."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import tokenizers
from sentencepiece import SentencePieceProcessor

from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf.tokenizer import TOKENIZER

_SENTENCEPIECE = "tokenizer.model"
_ADDED = "added_tokens.json"


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
    ids = set(tokenizer.get_vocab(with_added_tokens=True).values())
    added = tokenizer.get_added_tokens_decoder()
    ids -= {index for index, token in added.items() if token.special}
    _check(ids, rows, "The tokenizer")
    _check((index for index in special if index is not None), rows, "The configuration")


def check_folder(folder: pathlib.Path, rows: int) -> None:
    """Checks the tokenizer in a folder, if it has one, as `check_tokenizer` does.

    Raises:
      UserError: an id has no row, or a tokenizer's file cannot be read.
    """
    try:
        if (folder / TOKENIZER).is_file():
            named = _named_ids(config_lib.read_base(folder))
            check_tokenizer((folder / TOKENIZER).read_bytes(), rows, named)
        elif (folder / _SENTENCEPIECE).is_file():
            proto = (folder / _SENTENCEPIECE).read_bytes()
            pieces = SentencePieceProcessor(model_proto=proto).vocab_size()
            _check([pieces - 1], rows, _SENTENCEPIECE)
            if (folder / _ADDED).is_file():
                added = json.loads((folder / _ADDED).read_bytes())
                _check(added.values(), rows, _ADDED)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    # The tokenizers package raises nothing more precise.
    except Exception as error:
        raise UserError(
            f"{folder}: its tokenizer cannot be read ({error}). Download or copy the "
            "folder again."
        ) from error


def _named_ids(record: Mapping[str, Any]) -> list[int]:
    named: list[Any] = []
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = record.get(key)
        named += value if isinstance(value, list) else [value]
    return [index for index in named if isinstance(index, int)]


def _check(ids: Iterable[int], rows: int, source: str) -> None:
    largest = max(ids, default=0)
    if largest >= rows:
        raise UserError(
            f"{source} has the id {largest}, but the embedding only {rows} rows: they "
            "do not belong together. Take the tokenizer that the model was trained "
            "with."
        )
