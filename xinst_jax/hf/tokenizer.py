"""The tokenizer files of a Hugging Face folder: built from SentencePiece, or copied.

A SentencePiece BPE model with byte fallback becomes a `tokenizer.json` that gives the
same ids. Like Llama's, the Hugging Face tokenizer puts the BOS token before a text,
which is how our prompts begin. The special tokens are spelled `<|...|>` there rather
than `<s>`, because a Hugging Face tokenizer takes any spelling of a special token in a
text for the token itself, and `<s>` is an HTML tag that web text contains.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from xinst_jax.errors import UserError

CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

_SPACE = "▁"
_COPIED = (
    TOKENIZER,
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")
_PROBES = ("", "a", " two  spaces ", "<s> </s> <unk>", "\n\t1234\x00", "ก็ हिन्दी 👩‍🌾")
_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece


def from_sentencepiece(
    model: bytes, prompt: str, max_length: int, name: str = "tokenizer.model"
) -> dict[str, bytes]:
    """The tokenizer files, by file name, that give a SentencePiece model's ids.

    Args:
      model: a serialised SentencePiece model: BPE, byte fallback, no normalisation.
      prompt: the prompt of `chat_template`.
      max_length: longest sequence of the language model, in tokens.
      name: what errors call the model.

    Raises:
      UserError: the model does what no `tokenizer.json` of this kind can repeat.
    """
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    _check_kind(proto, name)
    tokenizer_json = _json(_tokenizer_record(proto))
    _check_equal(model, tokenizer_json, name)
    dummy_prefix = proto.normalizer_spec.add_dummy_prefix
    template = chat_template(prompt, " " if dummy_prefix else "")
    special = {
        name: label
        for name, label in zip(_SPECIAL_NAMES, _special_labels(proto), strict=True)
        if label
    }
    special.setdefault("pad_token", special["unk_token"])
    config = {
        "added_tokens_decoder": {
            str(token["id"]): {k: v for k, v in token.items() if k != "id"}
            for token in _added_tokens(proto)
        },
        **special,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": max_length,
        "padding_side": "left",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return {
        TOKENIZER: tokenizer_json,
        "tokenizer.model": model,
        TOKENIZER_CONFIG: _json(config),
        "special_tokens_map.json": _json(special),
        CHAT_TEMPLATE: template.encode(),
    }


def from_folder(folder: pathlib.Path, prompt: str, max_length: int) -> dict[str, bytes]:
    """A base model's tokenizer files, byte for byte, with our chat template.

    Only `tokenizer_config.json` is changed: the template, a padding token where there
    is none (the EOS token: padding is masked by length, and the vocabulary keeps its
    size), and a class name that every transformers since version 4 knows.

    Args:
      folder: a Hugging Face folder with a tokenizer.
      prompt: the prompt of `chat_template`.
      max_length: longest sequence, in tokens; used where the folder has only a
        SentencePiece model.

    Raises:
      UserError: the folder has no tokenizer, or one without an EOS token.
    """
    if not (folder / TOKENIZER).is_file():
        path = folder / "tokenizer.model"
        if not path.is_file():
            raise UserError(
                f"{folder} has neither tokenizer.json nor tokenizer.model; a Hugging "
                "Face model folder brings its tokenizer."
            )
        return from_sentencepiece(path.read_bytes(), prompt, max_length, str(path))
    files = {
        name: (folder / name).read_bytes()
        for name in _COPIED
        if (folder / name).is_file()
    }
    tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER].decode())
    template = chat_template(prompt, " " if _adds_prefix(tokenizer) else "")
    config = _patched_config(folder, template)
    files[TOKENIZER_CONFIG] = _json(config)
    special = {name: config[name] for name in _SPECIAL_NAMES if config.get(name)}
    files.setdefault("special_tokens_map.json", _json(special))
    return files | {CHAT_TEMPLATE: template.encode()}


def chat_template(prompt: str, separator: str) -> str:
    """The Jinja chat template that renders a user's message as our prompt.

    The language is the template's variable `output_lang`; the sentence that asks for
    it (what follows the instruction on its line) is left out where it is not given.
    The response and its end token carry `{% generation %}` marks.

    >>> text = chat_template("Do: {instruction} In {output_lang}.\\nResponse:", " ")
    >>> "output_lang" in text
    True

    With it, the messages user "Sing" and assistant "La", under output_lang="Thai",
    read `BOS Do: Sing In Thai.\\nResponse: La EOS`.

    Args:
      prompt: a prompt with the slots '{instruction}' and, later on the same line,
        '{output_lang}'.
      separator: what stands between prompt and response: a space where the tokenizer
        puts one before every text of its own, else nothing. So that a whole
        conversation has the tokens of its prompt and response, encoded apart.
    """
    head, _, rest = prompt.partition("{instruction}")
    request, newline, tail = rest.partition("\n")
    before, slot, after = request.partition("{output_lang}")
    if not slot:
        raise ValueError(f"no {{instruction}} ... {{output_lang}} in {prompt!r}")

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)

    return (
        "{%- if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}"
        "{%- for message in messages %}"
        "{%- if message['role'] == 'user' %}"
        f"{{{{- {text(head)} + message['content'] }}}}"
        "{%- if output_lang is defined and output_lang %}"
        f"{{{{- {text(before)} + output_lang + {text(after)} }}}}"
        "{%- endif %}"
        f"{{{{- {text(newline + tail)} }}}}"
        "{%- elif message['role'] == 'assistant' %}"
        "{%- generation %}"
        f"{{{{- {text(separator)} + message['content'] + eos_token }}}}"
        "{%- endgeneration %}"
        "{%- else %}"
        "{{- raise_exception('This model knows the roles user and assistant, not ' + "
        "message['role'] + '.') }}"
        "{%- endif %}"
        "{%- endfor %}"
    )


def padding_id(files: Mapping[str, bytes]) -> int | None:
    """The id of the padding token that tokenizer files name, if they name one.

    Args:
      files: contents of `tokenizer.json` and `tokenizer_config.json`, by name.
    """
    token = json.loads(files[TOKENIZER_CONFIG]).get("pad_token")
    if isinstance(token, dict):
        token = token["content"]
    tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER].decode())
    return tokenizer.token_to_id(token) if token else None


def _check_kind(
    proto: sentencepiece_model_pb2.ModelProto,
    name: str,
) -> None:
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    pieces = {piece.piece for piece in proto.pieces if piece.type == _Piece.NORMAL}
    wanted = {
        "model_type is bpe": trainer.model_type == trainer.BPE,
        "byte_fallback is on": trainer.byte_fallback,
        "normalization_rule_name is identity": not normalizer.precompiled_charsmap,
        "remove_extra_whitespaces is off": not normalizer.remove_extra_whitespaces,
        "escape_whitespaces is on": normalizer.escape_whitespaces,
        "treat_whitespace_as_suffix is off": not trainer.treat_whitespace_as_suffix,
        "there are no user_defined_symbols": not any(
            piece.type == _Piece.USER_DEFINED for piece in proto.pieces
        ),
        "every character of a piece is a piece": all(
            character in pieces for piece in pieces for character in piece
        ),
        "it has a BOS and an EOS piece": trainer.bos_id >= 0 and trainer.eos_id >= 0,
    }
    broken = [rule for rule, holds in wanted.items() if not holds]
    if broken:
        raise UserError(
            f"{name} cannot be written as a tokenizer.json with the same ids; that "
            f"needs a SentencePiece model of which this holds: {'; '.join(broken)}."
        )


def _check_equal(model: bytes, tokenizer_json: bytes, name: str) -> None:
    sentencepiece = SentencePieceProcessor(model_proto=model)
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json.decode())
    for text in _PROBES:
        expected = sentencepiece.encode(text)
        found = tokenizer.encode(text, add_special_tokens=False).ids
        if found != expected:
            raise UserError(
                f"{name}: the tokenizer.json built from it gives {found} for {text!r}, "
                f"SentencePiece gives {expected}."
            )


def _special_labels(
    proto: sentencepiece_model_pb2.ModelProto,
) -> tuple[str | None, ...]:
    """Spellings of the BOS, EOS, padding and unknown tokens; None where it has none."""
    trainer = proto.trainer_spec
    return (
        "<|begin_of_text|>" if trainer.bos_id >= 0 else None,
        "<|end_of_text|>" if trainer.eos_id >= 0 else None,
        "<|pad|>" if trainer.pad_id >= 0 else None,
        "<|unknown|>",
    )


def _tokens(
    proto: sentencepiece_model_pb2.ModelProto,
) -> list[str]:
    """Every id's spelling in `tokenizer.json`."""
    trainer = proto.trainer_spec
    ids = (trainer.bos_id, trainer.eos_id, trainer.pad_id, trainer.unk_id)
    labels = dict(zip(ids, _special_labels(proto), strict=True))
    return [
        labels.get(index) or f"<|control_{index}|>"
        if piece.type in (_Piece.CONTROL, _Piece.UNKNOWN)
        else piece.piece
        for index, piece in enumerate(proto.pieces)
    ]


def _added_tokens(
    proto: sentencepiece_model_pb2.ModelProto,
) -> list[dict[str, Any]]:
    return [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, token in enumerate(_tokens(proto))
        if proto.pieces[index].type in (_Piece.CONTROL, _Piece.UNKNOWN)
    ]


def _merges(
    proto: sentencepiece_model_pb2.ModelProto,
) -> list[list[str]]:
    """Every way to make a piece of two others, best-scored piece first.

    SentencePiece joins the neighbours whose union has the best score, whatever they
    are; a `tokenizer.json` ranks pairs.
    """
    rank = {
        piece.piece: (-piece.score, index)
        for index, piece in enumerate(proto.pieces)
        if piece.type == _Piece.NORMAL
    }
    return [
        [whole[:cut], whole[cut:]]
        for whole in sorted(rank, key=lambda piece: rank[piece])
        for cut in range(1, len(whole))
        if whole[:cut] in rank and whole[cut:] in rank
    ]


def _tokenizer_record(
    proto: sentencepiece_model_pb2.ModelProto,
) -> dict[str, Any]:
    tokens = _tokens(proto)
    bos_id = proto.trainer_spec.bos_id
    bos = tokens[bos_id]
    prefix: list[dict[str, Any]] = []
    strip: list[dict[str, Any]] = []
    if proto.normalizer_spec.add_dummy_prefix:
        prefix = [{"type": "Prepend", "prepend": _SPACE}]
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    space, spaced = {"String": " "}, {"String": _SPACE}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(proto),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                *prefix,
                {"type": "Replace", "pattern": space, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": bos, "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": spaced, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": tokens[proto.trainer_spec.unk_id],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": _merges(proto),
        },
    }


def _adds_prefix(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether the tokenizer puts a space before every text."""
    return tokenizer.encode("a", add_special_tokens=False).tokens[0].startswith(_SPACE)


def _patched_config(folder: pathlib.Path, template: str) -> Mapping[str, Any]:
    path = folder / TOKENIZER_CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); it names the special tokens."
        ) from error
    if not config.get("eos_token"):
        raise UserError(f"{path} names no eos_token; a model must be able to stop.")
    if not config.get("pad_token"):
        config["pad_token"] = config["eos_token"]
    if config.get("tokenizer_class") in (None, "TokenizersBackend"):
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for key in ("backend", "is_local"):
        config.pop(key, None)
    return config | {"chat_template": template}


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
