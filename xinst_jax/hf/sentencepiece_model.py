"""A SentencePiece model, and the `tokenizer.json` that gives the same ids.

SentencePiece joins the neighbours whose union has the best score; a `tokenizer.json`
ranks pairs. With byte fallback, no normalisation and every character of a piece a piece
itself, the two give the same ids. Tokens keep the model's own spelling.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from xinst_jax.errors import UserError
from xinst_jax.hf import special_tokens

_SPACE = "▁"
_PROBES = (
    "",
    "a",
    " two  spaces ",
    "<s> </s> <unk>",
    "\n\t1234\x00",
    "ก็ हिन्दी 👩‍🌾",
    " " * 70,
    "\n" * 70 + " \t\t\t\t ",
)
_TURNS = ("<start_of_turn>", "<end_of_turn>")
"""Gemma's marks of a turn, which its model file has as text and transformers
(`convert_slow_tokenizer.GemmaConverter.special_tokens`) as special."""

_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece


@dataclasses.dataclass(frozen=True)
class Model:
    """A SentencePiece model whose special tokens no text is encoded to.

    Attributes:
      proto: the model; pieces that are special by the files beside it are control
        pieces.
      added: ids of the tokens that added_tokens.json adds after the pieces.
      bos: id put before a text, or None.
      stops: the end token's id, then the others that end generation; may be empty.
      pad: id of padding, or None.
      unk: id of what cannot be spelled.
      name: what errors call it.
    """

    proto: sentencepiece_model_pb2.ModelProto
    added: Mapping[str, int]
    bos: int | None
    stops: tuple[int, ...]
    pad: int | None
    unk: int
    name: str

    def processor(self) -> SentencePieceProcessor:
        """SentencePiece's own encoder and decoder."""
        return SentencePieceProcessor(model_proto=self.proto.SerializeToString())

    def special_ids(self) -> frozenset[int]:
        """Ids that no text is encoded to; the unknown piece's is not one of them."""
        control = {
            index
            for index, piece in enumerate(self.proto.pieces)
            if piece.type == _Piece.CONTROL
        }
        return frozenset(control | set(self.added.values()))


def read(path: pathlib.Path) -> Model:
    """Reads a model and what is said of its tokens in the files beside it.

    Raises:
      UserError: the file is no SentencePiece model, or another contradicts it.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
        SentencePieceProcessor(model_proto=proto.SerializeToString())
    except Exception as error:  # protobuf and SentencePiece share no narrower class
        raise UserError(
            f"{path} cannot be read as a SentencePiece model: {error}."
        ) from error
    own = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    added = _added(path, own)
    said = special_tokens.read(path, (own | added).get)
    for piece in proto.pieces:
        named = piece.piece in said.special or piece.piece in _TURNS
        if piece.type == _Piece.USER_DEFINED and named:
            piece.type = _Piece.CONTROL
    spec = proto.trainer_spec
    bos = _present(spec.bos_id) if said.bos is None else said.bos
    eos = _present(spec.eos_id)
    return Model(
        proto=proto,
        added=added,
        bos=None if said.adds_bos is False else bos,
        stops=said.stops or (() if eos is None else (eos,)),
        pad=_present(spec.pad_id) if said.pad is None else said.pad,
        unk=spec.unk_id,
        name=str(path),
    )


def tokenizer_json(model: Model) -> dict[str, Any]:
    """The content of a `tokenizer.json` with a model's ids and its BOS before a text.

    Raises:
      UserError: the model does what no `tokenizer.json` of this kind can repeat.
    """
    _check_kind(model)
    record = _record(model)
    _check_equal(model, record)
    return record


def special_names(model: Model) -> dict[str, str]:
    """The spellings of the BOS, EOS, padding and unknown tokens that a model has."""
    spec = model.proto.trainer_spec
    ids = (spec.bos_id, spec.eos_id, spec.pad_id, spec.unk_id)
    return {
        name: model.proto.pieces[index].piece
        for name, index in zip(special_tokens.NAMES, ids, strict=True)
        if index >= 0
    }


def _present(index: int) -> int | None:
    return index if index >= 0 else None


def _added(path: pathlib.Path, own: Mapping[str, int]) -> dict[str, int]:
    """The tokens that added_tokens.json adds to the pieces' own ids."""
    file = path.parent / special_tokens.ADDED_TOKENS
    if not file.is_file():
        return {}
    added = {
        token: index
        for token, index in special_tokens.read_json(file).items()
        if own.get(token) != index
    }
    ids = sorted(added.values())
    if ids != list(range(len(own), len(own) + len(added))):
        raise UserError(
            f"{file} gives the ids {ids}; expected the ids from {len(own)} on, which "
            f"follow the pieces of {path}. The files do not belong together."
        )
    return added


def _check_kind(model: Model) -> None:
    trainer, normalizer = model.proto.trainer_spec, model.proto.normalizer_spec
    kinds = {piece.type for piece in model.proto.pieces}
    pieces = {
        piece.piece for piece in model.proto.pieces if piece.type == _Piece.NORMAL
    }
    wanted = {
        "model_type is bpe": trainer.model_type == trainer.BPE,
        "byte_fallback is on": trainer.byte_fallback,
        "normalization_rule_name is identity": not normalizer.precompiled_charsmap,
        "remove_extra_whitespaces is off": not normalizer.remove_extra_whitespaces,
        "escape_whitespaces is on": normalizer.escape_whitespaces,
        "treat_whitespace_as_suffix is off": not trainer.treat_whitespace_as_suffix,
        "there are no user_defined_symbols, or add_dummy_prefix is off": (
            _Piece.USER_DEFINED not in kinds or not normalizer.add_dummy_prefix
        ),
        "there are no unused pieces": _Piece.UNUSED not in kinds,
        "every character of a piece is a piece": all(
            character in pieces for piece in pieces for character in piece
        ),
        "it has an EOS piece": bool(model.stops),
    }
    broken = [rule for rule, holds in wanted.items() if not holds]
    if broken:
        raise UserError(
            f"{model.name} cannot be written as a tokenizer.json with the same ids; "
            "that needs a SentencePiece model of which this holds: "
            f"{'; '.join(broken)}."
        )


def _check_equal(model: Model, record: Mapping[str, Any]) -> None:
    sentencepiece = model.processor()
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(record))
    tokenizer.encode_special_tokens = True
    for text in _PROBES:
        expected = sentencepiece.encode(text)
        found = tokenizer.encode(text, add_special_tokens=False).ids
        if found != expected:
            raise UserError(
                f"{model.name}: the tokenizer.json built from it gives {found} for "
                f"{text!r}, SentencePiece gives {expected}."
            )


def _added_tokens(model: Model) -> list[dict[str, Any]]:
    def token(index: int, content: str, special: bool) -> dict[str, Any]:
        return {
            "id": index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            # SentencePiece finds user-defined symbols after spaces became "▁".
            "normalized": not special,
            "special": special,
        }

    return [
        *(
            token(index, piece.piece, piece.type != _Piece.USER_DEFINED)
            for index, piece in enumerate(model.proto.pieces)
            if piece.type in (_Piece.CONTROL, _Piece.UNKNOWN, _Piece.USER_DEFINED)
        ),
        *(
            token(index, content, True)
            for content, index in sorted(model.added.items(), key=lambda item: item[1])
        ),
    ]


def _merges(model: Model) -> list[list[str]]:
    """Every way to make a piece of two others, best-scored piece first."""
    rank = {
        piece.piece: (-piece.score, index)
        for index, piece in enumerate(model.proto.pieces)
        if piece.type == _Piece.NORMAL
    }
    return [
        [whole[:cut], whole[cut:]]
        for whole in sorted(rank, key=lambda piece: rank[piece])
        for cut in range(1, len(whole))
        if whole[:cut] in rank and whole[cut:] in rank
    ]


def _begin(model: Model) -> dict[str, Any] | None:
    """The post-processor that puts the BOS token before a text."""
    if model.bos is None:
        return None
    tokens = [*(piece.piece for piece in model.proto.pieces), *model.added]
    bos = tokens[model.bos]

    def part(kind: str, name: str, type_id: int) -> dict[str, Any]:
        return {kind: {"id": name, "type_id": type_id}}

    single = [part("SpecialToken", bos, 0), part("Sequence", "A", 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, part("SpecialToken", bos, 1), part("Sequence", "B", 1)],
        "special_tokens": {bos: {"id": bos, "ids": [model.bos], "tokens": [bos]}},
    }


def _record(model: Model) -> dict[str, Any]:
    normalizers: list[dict[str, Any]] = []
    strip: list[dict[str, Any]] = []
    if model.proto.normalizer_spec.add_dummy_prefix:
        normalizers = [{"type": "Prepend", "prepend": _SPACE}]
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    space, spaced = {"String": " "}, {"String": _SPACE}
    vocab = {piece.piece: index for index, piece in enumerate(model.proto.pieces)}
    normalizers += [{"type": "Replace", "pattern": space, "content": _SPACE}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(model),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": _begin(model),
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
            "unk_token": model.proto.pieces[model.unk].piece,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": _merges(model),
        },
    }
