"""Tokenizers behind one `seqio.Vocabulary`: SentencePiece models and tokenizer.json.

What the tokenizer's own library gives is what is fed: the same ids, and the same token,
or none, before a text. Text is only ever text: a special token's name in it is spelled
in ordinary pieces.
"""

import functools
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import tokenizers
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from xinst_jax import shards
from xinst_jax.config import TokenizerConfig
from xinst_jax.data.quiet_tensorflow import seqio, tf
from xinst_jax.errors import UserError

_TOKENIZER_JSON = "tokenizer.json"
_SENTENCEPIECE = "tokenizer.model"
_COMPANIONS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
)
_MAX_LINE_BYTES = 1 << 24


class Vocabulary(seqio.Vocabulary):
    """A tokenizer, by the file it was loaded from.

    Attributes:
      path: the file.
      bos_id: id that the tokenizer's library puts before a text; None where it puts
        none, even if the tokenizer has a token of that name.
      eos_id: id that ends a response.
      pad_id: id made for padding, or None. Nothing here takes an id for padding.
      unk_id: id of what cannot be spelled, or None.
      stop_ids: every id that ends generation; `eos_id` is the first.
      special_ids: ids that no text is encoded to and no decoded text shows.
    """

    path: pathlib.Path
    stop_ids: tuple[int, ...]
    special_ids: frozenset[int]

    def __init__(self, path: pathlib.Path):
        """Reads the file; subclasses then set the ids."""
        super().__init__()
        self.path = path
        self._bos_id: int | None = None
        self._eos_id = -1
        self._pad_id: int | None = None
        self._unk_id: int | None = None
        self._size = 0

    @property
    def bos_id(self) -> int | None:
        """See the class."""
        return self._bos_id

    @property
    def eos_id(self) -> int:
        """See the class."""
        return self._eos_id

    @property
    def pad_id(self) -> int | None:
        """See the class."""
        return self._pad_id

    @property
    def unk_id(self) -> int | None:
        """See the class."""
        return self._unk_id

    @property
    def _base_vocab_size(self) -> int:
        return self._size

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text as a model first sees it: after the begin token, if any."""
        begin = [] if self._bos_id is None else [self._bos_id]
        return [*begin, *self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first that stops generation, without special ones.

        Ids that the tokenizer does not have (rows that pad an embedding) are left out.
        """
        text_ids = itertools.takewhile(
            lambda index: index not in self.stop_ids, map(int, ids)
        )
        return self._decode(
            [
                index
                for index in text_ids
                if index < self._size and index not in self.special_ids
            ]
        )

    def _encode_tf(self, text: tf.Tensor) -> tf.Tensor:
        def encode(value: Any) -> np.ndarray:
            value = value.item() if isinstance(value, np.ndarray) else value
            return np.array(self.encode(value.decode("utf-8")), np.int32)

        # A stateful op would keep a tf.data iterator from being saved.
        ids = tf.numpy_function(encode, [text], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """The text, scalar string, of ids, int32 (T,), as `decode` gives it."""
        return self._decode_tf(ids)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        def decode(ids_t: np.ndarray) -> bytes:
            return self.decode(ids_t.tolist()).encode("utf-8")

        text = tf.numpy_function(decode, [ids], tf.string, stateful=False)
        text.set_shape([])
        return text

    def __eq__(self, other: object) -> bool:
        """Equal when of one kind and of files with equal content."""
        return type(self) is type(other) and self._content == other._content

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash((type(self), self._content))

    @functools.cached_property
    def _content(self) -> str:
        return shards.file_digest(self.path)


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model, encoded by SentencePiece itself."""

    def __init__(self, path: pathlib.Path):
        """Loads the model.

        Raises:
          UserError: the file is no SentencePiece model, or has no end token.
        """
        super().__init__(path)
        processor = self._processor
        self._size = processor.get_piece_size()
        self._bos_id = _present(processor.bos_id())
        self._pad_id = _present(processor.pad_id())
        self._unk_id = _present(processor.unk_id())
        if processor.eos_id() < 0:
            raise UserError(
                f"{path} has no end-of-sequence piece. Expected a SentencePiece model "
                "trained with an eos_id; without one no response could end."
            )
        self._eos_id = processor.eos_id()
        self.stop_ids = (self._eos_id,)
        self.special_ids = frozenset(
            index for index in range(self._size) if processor.is_control(index)
        )

    @functools.cached_property
    def _processor(self) -> SentencePieceProcessor:
        try:
            return SentencePieceProcessor(model_proto=self.path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{self.path} cannot be read as a SentencePiece model: {error}."
            ) from error

    def _encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def _decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_processor"}


class HuggingFaceVocabulary(Vocabulary):
    """A Hugging Face tokenizer.json, encoded by the library `tokenizers`."""

    def __init__(self, path: pathlib.Path):
        """Loads the tokenizer and, from the files beside it, what its tokens are for.

        Raises:
          UserError: the file is no tokenizer, or which token ends a text is not said.
        """
        super().__init__(path)
        tokenizer = self._tokenizer
        added = tokenizer.get_added_tokens_decoder()
        ids = tokenizer.get_vocab(with_added_tokens=True).values()
        self._size = max(ids, default=-1) + 1
        self._unk_id = _named_id(path, tokenizer, "unk")
        self._pad_id = _named_id(path, tokenizer, "pad")
        stop_ids = _stop_ids(path, tokenizer)
        if not stop_ids:
            raise UserError(
                f"{path}: which token ends a text is not said. Expected 'eos_token' in "
                "tokenizer_config.json or special_tokens_map.json, or 'eos_token_id' "
                "in generation_config.json or config.json beside it."
            )
        self.stop_ids = stop_ids
        self._eos_id = stop_ids[0]
        self._bos_id = _begin_id(path, tokenizer)
        special = {index for index, token in added.items() if token.special}
        self.special_ids = frozenset(special - {self._unk_id})

    @functools.cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self.path))
        except Exception as error:  # the library raises nothing narrower
            raise UserError(
                f"{self.path} cannot be read as a Hugging Face tokenizer.json: {error}."
            ) from error
        # Some files carry the settings of the run that saved them.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _encode(self, text: str) -> list[int]:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        for index, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if index in self.special_ids and end - start > 1:
                # A model whose pieces include the special token's name, as unigram
                # models do: break the name up.
                return self._encode(text[: start + 1]) + self._encode(text[start + 1 :])
        return encoded.ids

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_tokenizer"}


def load_vocabulary(path: str | pathlib.Path) -> Vocabulary:
    """The tokenizer in a file, or in a folder that has one.

    Args:
      path: a SentencePiece '.model', a 'tokenizer.json', or a folder with either; of
        both, the tokenizer.json is taken, as transformers does.

    Raises:
      UserError: there is none, or it cannot be used.
    """
    file = tokenizer_file(pathlib.Path(path))
    if file.suffix == ".json":
        return HuggingFaceVocabulary(file)
    return SentencePieceVocabulary(file)


def tokenizer_file(path: pathlib.Path) -> pathlib.Path:
    """The tokenizer's file: the path itself, or the one in the folder it names.

    Raises:
      UserError: the path does not exist, or is a folder without a tokenizer.
    """
    if path.is_file():
        return path
    for name in (_TOKENIZER_JSON, _SENTENCEPIECE):
        if (path / name).is_file():
            return path / name
    models = sorted(path.glob("*.model"))
    if len(models) != 1:
        found = ", ".join(sorted(p.name for p in path.glob("*"))[:8]) or "nothing"
        raise UserError(
            f"No tokenizer in {path} (found {found}). Expected {_TOKENIZER_JSON}, "
            f"{_SENTENCEPIECE} or one other '.model' file."
        )
    return models[0]


def copy_tokenizer(path: pathlib.Path, directory: pathlib.Path) -> None:
    """Copies a tokenizer, and the files that say what its tokens are for.

    Args:
      path: as for `load_vocabulary`.
      directory: where the copies go: 'tokenizer.json' or 'tokenizer.model', and the
        folder's other tokenizer files under their names.

    Raises:
      UserError: there is no tokenizer, or it cannot be used.
    """
    load_vocabulary(path)
    file = tokenizer_file(path)
    names = {file: _TOKENIZER_JSON if file.suffix == ".json" else _SENTENCEPIECE}
    others = (*_COMPANIONS, _SENTENCEPIECE)
    names |= {file.parent / name: name for name in others if file.parent / name != file}
    for source, name in names.items():
        if source.is_file():
            with shards.atomic_path(directory / name) as temporary:
                shutil.copyfile(source, temporary)


def train_sentencepiece(
    texts: Iterable[str], path: pathlib.Path, config: TokenizerConfig
) -> None:
    """Trains a SentencePiece BPE model; equal texts in equal order give equal bytes.

    Every text can be spelled and comes back exactly: unseen characters, and line
    breaks, are spelled in bytes, and nothing is normalised. Digits stand alone. Ids are
    Llama's: <unk> 0, <s> 1, </s> 2, the bytes 3 to 258, then the pieces; there is no
    padding. Texts too few for `config.vocab_size` pieces give fewer.

    Args:
      texts: cleaned texts; the first `config.max_sentences` are used.
      path: the '.model' file to write.
      config: size and coverage.

    Raises:
      UserError: there is no text, or the vocabulary is too small for its characters.
    """
    used = itertools.islice(texts, config.max_sentences)
    lines = (line for text in used for line in text.split("\n") if line.strip())
    first = next(lines, None)
    if first is None:
        raise UserError(
            f"There is no text to train {path} on: the corpus and the seed are empty."
        )
    model = BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=itertools.chain([first], lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=_MAX_LINE_BYTES,
            hard_vocab_limit=False,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"TokenizerConfig.vocab_size = {config.vocab_size} does not do for this "
            f"text: {error}. Raise vocab_size, or lower character_coverage."
        ) from error
    shards.write_bytes(path, model.getvalue())


def _present(index: int) -> int | None:
    return index if index >= 0 else None


def _record(path: pathlib.Path, name: str) -> dict[str, Any]:
    """A JSON file beside the tokenizer; empty where there is none."""
    file = path.parent / name
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}.") from error


def _named_id(
    path: pathlib.Path, tokenizer: tokenizers.Tokenizer, name: str
) -> int | None:
    """The id of the token that the files beside the tokenizer call bos, eos, pad, unk.

    Raises:
      UserError: the token that they name is not in the vocabulary.
    """
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _record(path, file).get(f"{name}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token:
            index = tokenizer.token_to_id(token)
            if index is None:
                raise UserError(
                    f"{path.parent / file} names {token!r} as {name}_token, which is "
                    f"not in {path}. The files do not belong together."
                )
            return index
    for file in ("generation_config.json", "config.json"):
        index = _record(path, file).get(f"{name}_token_id")
        if isinstance(index, list):
            index = index[0] if index else None
        if index is not None:
            return int(index)
    return None


def _stop_ids(path: pathlib.Path, tokenizer: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The end token's id, then the others that end generation."""
    named = _named_id(path, tokenizer, "eos")
    listed = _record(path, "generation_config.json").get("eos_token_id")
    listed = [listed] if isinstance(listed, int) else listed or []
    found = [*([] if named is None else [named]), *listed]
    return tuple(dict.fromkeys(int(index) for index in found))


def _begin_id(path: pathlib.Path, tokenizer: tokenizers.Tokenizer) -> int | None:
    """The id that the library puts before a text.

    tokenizer_config.json's 'add_bos_token' decides where it is given; else what the
    tokenizer.json itself adds.

    Raises:
      UserError: more than one token is put before a text.
    """
    stated = _record(path, "tokenizer_config.json").get("add_bos_token")
    if stated is not None:
        return _named_id(path, tokenizer, "bos") if stated else None
    encoded = tokenizer.encode("a", add_special_tokens=True)
    before = list(itertools.takewhile(bool, encoded.special_tokens_mask))
    if len(before) > 1:
        raise UserError(
            f"{path} puts {len(before)} tokens before a text; expected one or none."
        )
    return encoded.ids[0] if before else None
