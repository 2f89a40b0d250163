"""Which of a tokenizer's tokens are no text: what the files beside it say of them.

`tokenizer_config.json` speaks first, then `special_tokens_map.json`; ids stand in
`generation_config.json` and `config.json` (of a model that also reads images, there or
in its `text_config`). What is not said there, the tokenizer's own file decides.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from xinst_jax.errors import UserError
from xinst_jax.hf import text_half

ADDED_TOKENS = "added_tokens.json"
CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")

_NAMED = (CONFIG, MAP)
_OTHER_NAMES = ("cls_token", "sep_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_GENERATION, _MODEL = "generation_config.json", "config.json"

_OF_CLASS = dict.fromkeys(("GemmaTokenizer", "GemmaTokenizerFast"), ("<mask>",))
"""Tokens that a class of transformers 5 makes special, whatever the files say."""


@dataclasses.dataclass(frozen=True)
class SaidTokens:
    """What the files of a folder say of a tokenizer's tokens.

    Attributes:
      bos: id of the token that they name bos_token; None where they name none.
      adds_bos: whether it is put before a text; None where they do not say.
      stops: the end token's id, then the others that end generation; may be empty.
      pad: id of padding, or None.
      unk: id of what cannot be spelled, or None.
      special: tokens that they call special, by their spelling.
    """

    bos: int | None
    adds_bos: bool | None
    stops: tuple[int, ...]
    pad: int | None
    unk: int | None
    special: frozenset[str]


def read(file: pathlib.Path, token_id: Callable[[str], int | None]) -> SaidTokens:
    """What is said of a tokenizer's tokens beside its file.

    Args:
      file: the tokenizer's file; the others are looked for in its folder.
      token_id: the id of a spelling, or None.

    Raises:
      UserError: a file is not JSON, names a token that the tokenizer lacks, or has
        something else where an id belongs.
    """
    records = {
        name: read_json(file.parent / name)
        for name in (*_NAMED, _GENERATION, _MODEL)
        if (file.parent / name).is_file()
    }

    def named(name: str) -> int | None:
        for source in _NAMED:
            token = spelling(records.get(source, {}).get(name))
            if token:
                index = token_id(token)
                if index is None:
                    raise UserError(
                        f"{file.parent / source} names {token!r} as {name}, which is "
                        f"not in {file}. The files do not belong together."
                    )
                return index
        return None

    def ids(source: str, name: str) -> list[int]:
        value = text_half.value(records.get(source, {}), f"{name}_id")
        if value is None:
            return []
        found: list[Any] = value if isinstance(value, list) else [value]
        if not all(isinstance(index, int) for index in found):
            raise UserError(
                f"{file.parent / source}: {name}_id = {value!r}; expected an id or a "
                "list of ids."
            )
        return found

    def by_id(name: str) -> int | None:
        for source in (_GENERATION, _MODEL):
            found = ids(source, name)
            if found:
                return found[0]
        return None

    def role(name: str) -> int | None:
        index = named(name)
        return by_id(name) if index is None else index

    eos = role("eos_token")
    listed = ids(_GENERATION, "eos_token")
    if not listed:
        # An id that only config.json has may be its class's default: it counts where
        # the end token is among them.
        of_model = ids(_MODEL, "eos_token")
        listed = of_model if eos in of_model else []
    stops = dict.fromkeys([*([] if eos is None else [eos]), *listed])
    return SaidTokens(
        bos=named("bos_token"),
        adds_bos=records.get(CONFIG, {}).get("add_bos_token"),
        stops=tuple(stops),
        pad=role("pad_token"),
        unk=role("unk_token"),
        special=_special(records.get(CONFIG, {}), records.get(MAP, {})),
    )


def of_class(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Spellings of the tokens that are special by the class which a config names.

    `GemmaTokenizer` of transformers 5 has a mask token; Gemma's files list its `<mask>`
    as text.

    Args:
      config: a tokenizer_config.json.
    """
    return _OF_CLASS.get(str(config.get("tokenizer_class")), ())


def spelling(token: Any) -> str | None:
    """A token's spelling, from a string or from an object with 'content'."""
    return token.get("content") if isinstance(token, dict) else token


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
      UserError: it cannot be read, or is no JSON object.
    """
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object; it holds {record!r:.40}.")
    return record


def _special(config: dict[str, Any], map_: dict[str, Any]) -> frozenset[str]:
    found: list[Any] = []
    for record in (config, map_):
        found += [record.get(name) for name in (*NAMES, *_OTHER_NAMES)]
        for name in _LISTS:
            tokens = record.get(name) or []
            found += tokens.values() if isinstance(tokens, dict) else tokens
    found += of_class(config)
    decoder = config.get("added_tokens_decoder") or {}
    found += [token for token in decoder.values() if token.get("special")]
    return frozenset(text for token in found if (text := spelling(token)))
