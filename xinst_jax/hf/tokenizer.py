"""The tokenizer files of a Hugging Face folder: a base model's, or built.

A base model's files are copied byte for byte; only `tokenizer_config.json` is changed.
Where there is only a SentencePiece model, a `tokenizer.json` is built that gives its
ids. Every transformers since version 4 then reads one tokenizer from the folder: that
of `tokenizer.json`.
"""

import itertools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers

from xinst_jax.errors import UserError
from xinst_jax.hf import sentencepiece_model, special_tokens
from xinst_jax.hf.chat_template import chat_template, joints

CHAT_TEMPLATE = "chat_template.jinja"
SENTENCEPIECE = "tokenizer.model"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = special_tokens.CONFIG

_COPIED = (
    TOKENIZER,
    SENTENCEPIECE,
    "vocab.json",
    "merges.txt",
    special_tokens.ADDED_TOKENS,
    special_tokens.MAP,
)
_CLASS = "PreTrainedTokenizerFast"
_LLAMA_CLASSES = ("LlamaTokenizer", "LlamaTokenizerFast")
"""Version 5 takes only pieces and merges from their file, and puts no space before a
text that begins with one, as SentencePiece and version 4 do."""

_UNKNOWN_CLASSES = (None, "TokenizersBackend", "SentencePieceBackend", "PythonBackend")
"""Version 4 does not know them."""

_DEFAULTS = {
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
}
_LLAMA_DEFAULTS = _DEFAULTS | {"padding_side": "left"}
"""What a replaced class would have set, and the class that replaces it does not."""

_DROPPED = ("backend", "is_local")


def from_folder(folder: pathlib.Path, prompt: str, max_length: int) -> dict[str, bytes]:
    """The tokenizer files for a model's folder, by file name, with our chat template.

    Copied byte for byte: `tokenizer.json`, `tokenizer.model`, `vocab.json`,
    `merges.txt`, `added_tokens.json`, `special_tokens_map.json`, as far as they are
    there. Changed in `tokenizer_config.json`: the template; a padding token where there
    is none (the EOS token: padding is masked by length, and the vocabulary keeps its
    size); whether the BOS token is put before a text, said as the file does it; which
    tokens are special by the class alone; a class with which every transformers since
    version 4 reads `tokenizer.json` as it stands.
    Written where missing: `special_tokens_map.json`, and for a SentencePiece model
    `tokenizer.json` and `tokenizer_config.json`; tokens keep the model's own spelling.

    Args:
      folder: a Hugging Face folder, or one with a SentencePiece `tokenizer.model`: BPE,
        byte fallback, no normalisation.
      prompt: the prompt of `chat_template`.
      max_length: longest sequence, in tokens; used where no file says it.

    Raises:
      UserError: the folder has no tokenizer, one without an EOS token, one that needs
        code of its own, or a SentencePiece model of a kind that no `tokenizer.json` can
        repeat.
    """
    check_no_code(folder)
    files = {
        name: (folder / name).read_bytes()
        for name in _COPIED
        if (folder / name).is_file()
    }
    if TOKENIZER in files:
        config = special_tokens.read_json(folder / TOKENIZER_CONFIG)
    elif SENTENCEPIECE in files:
        model = sentencepiece_model.read(folder / SENTENCEPIECE)
        record = sentencepiece_model.tokenizer_json(model)
        files[TOKENIZER] = _json(record)
        config = _built_config(folder, model, record, max_length)
    else:
        raise UserError(
            f"{folder} has neither {TOKENIZER} nor {SENTENCEPIECE}; a Hugging Face "
            "model folder brings its tokenizer."
        )
    tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER].decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    begin = begin_id(tokenizer, str(folder / TOKENIZER))
    bos = None if begin is None else tokenizer.id_to_token(begin)
    template = chat_template(prompt, joints(tokenizer, bos))
    map_ = json.loads(files.get(special_tokens.MAP, b"{}"))
    config = _patched(_named(config, map_), bos, folder / TOKENIZER_CONFIG)
    config |= _marked(config, tokenizer)
    names = {name: config[name] for name in special_tokens.NAMES if config.get(name)}
    files.setdefault(special_tokens.MAP, _json(names))
    return files | {
        TOKENIZER_CONFIG: _json(config | {"chat_template": template}),
        CHAT_TEMPLATE: template.encode(),
    }


def read(path: pathlib.Path) -> tokenizers.Tokenizer:
    """The tokenizer in a `tokenizer.json`, which neither cuts nor pads a text.

    Raises:
      UserError: the file cannot be read as one.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"{path} cannot be read as a Hugging Face tokenizer.json: {error}. "
            "Download or copy it again."
        ) from error
    # Some files carry the settings of the run that saved them.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def find(path: pathlib.Path) -> pathlib.Path:
    """The tokenizer's file: the path itself, or the one in the folder it names.

    Raises:
      UserError: the path does not exist, or is a folder without a tokenizer.
    """
    if path.is_file():
        return path
    for name in (TOKENIZER, SENTENCEPIECE):
        if (path / name).is_file():
            return path / name
    models = sorted(path.glob("*.model"))
    if len(models) != 1:
        found = ", ".join(sorted(p.name for p in path.glob("*"))[:8]) or "nothing"
        raise UserError(
            f"No tokenizer in {path} (found {found}). Expected {TOKENIZER}, "
            f"{SENTENCEPIECE} or one other '.model' file."
        )
    return models[0]


def check_no_code(folder: pathlib.Path) -> None:
    """Checks that a folder's tokenizer needs no code of its own, which is never run.

    Raises:
      UserError: `tokenizer_config.json` has an `auto_map`.
    """
    path = folder / TOKENIZER_CONFIG
    own = special_tokens.read_json(path).get("auto_map") if path.is_file() else None
    if own:
        raise UserError(
            f"{path}: auto_map = {own!r}; the tokenizer needs code that the folder "
            "brings, which is never run. If tokenizer.json is the whole tokenizer, "
            "remove the key; else take another model."
        )


def begin_id(tokenizer: tokenizers.Tokenizer, name: str) -> int | None:
    """The id that a `tokenizer.json` puts before a text, or None.

    Its post-processor decides, as in transformers, whatever `add_bos_token` in
    tokenizer_config.json says.

    Args:
      tokenizer: read from the file.
      name: what errors call it.

    Raises:
      UserError: more than one token is put before a text.
    """
    encoded = tokenizer.encode("a", add_special_tokens=True)
    before = list(itertools.takewhile(bool, encoded.special_tokens_mask))
    if len(before) > 1:
        raise UserError(
            f"{name} puts {len(before)} tokens before a text; expected one or none."
        )
    return encoded.ids[0] if before else None


def padding_id(files: Mapping[str, bytes]) -> int | None:
    """The id of the padding token that tokenizer files name, if they name one.

    Args:
      files: contents of `tokenizer.json` and `tokenizer_config.json`, by name.
    """
    config = json.loads(files[TOKENIZER_CONFIG])
    token = special_tokens.spelling(config.get("pad_token"))
    tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER].decode())
    return tokenizer.token_to_id(token) if token else None


def _built_config(
    folder: pathlib.Path,
    model: sentencepiece_model.Model,
    record: Mapping[str, Any],
    max_length: int,
) -> dict[str, Any]:
    """The tokenizer_config.json of a built tokenizer.json, over the folder's own."""
    path = folder / TOKENIZER_CONFIG
    own = special_tokens.read_json(path) if path.is_file() else {}
    names = sentencepiece_model.special_names(model)
    if not own and "unk_token" in names:
        # No text has it: what is no piece is spelled in bytes.
        names.setdefault("pad_token", names["unk_token"])
    config = _named({"model_max_length": max_length, **_LLAMA_DEFAULTS} | own, names)
    config["added_tokens_decoder"] = {
        str(token["id"]): {key: value for key, value in token.items() if key != "id"}
        for token in record["added_tokens"]
    }
    return config | {"tokenizer_class": _CLASS}


def _named(config: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the special tokens that only `names` has."""
    missing = [name for name in special_tokens.NAMES if not config.get(name)]
    return dict(config) | {name: names[name] for name in missing if names.get(name)}


def _patched(
    config: Mapping[str, Any], bos: str | None, path: pathlib.Path
) -> dict[str, Any]:
    if not config.get("eos_token"):
        raise UserError(f"{path} names no eos_token; a model must be able to stop.")
    config = {key: value for key, value in config.items() if key not in _DROPPED}
    class_ = config.get("tokenizer_class")
    if class_ in _LLAMA_CLASSES:
        config = _LLAMA_DEFAULTS | config | {"tokenizer_class": _CLASS}
    if class_ in _UNKNOWN_CLASSES:
        config = _DEFAULTS | config | {"tokenizer_class": _CLASS}
    # Some classes of version 4 would put or leave out the BOS token by themselves.
    config["add_bos_token"] = bos is not None
    if bos is not None and not config.get("bos_token"):
        config["bos_token"] = bos
    if not config.get("pad_token"):
        config["pad_token"] = config["eos_token"]
    extra = config.get("extra_special_tokens")
    if isinstance(extra, list):
        # Version 5 writes a list under this name, where version 4 reads a mapping.
        del config["extra_special_tokens"]
        config.setdefault("additional_special_tokens", extra)
    return config


def _marked(
    config: Mapping[str, Any], tokenizer: tokenizers.Tokenizer
) -> dict[str, Any]:
    """The entry that tells version 4 of tokens that a class of version 5 has special.

    It lists all added tokens: version 5 then looks for them nowhere else.
    """
    marked = special_tokens.of_class(config)
    added = tokenizer.get_added_tokens_decoder()
    own = config.get("added_tokens_decoder") or {}
    if not {token.content for token in added.values() if not token.special} & {*marked}:
        return {}
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word")
    return {
        "added_tokens_decoder": {
            str(index): {flag: getattr(token, flag) for flag in flags}
            | {
                "special": token.special
                or token.content in marked
                or own.get(str(index), {}).get("special", False)
            }
            for index, token in sorted(added.items())
        }
    }


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
