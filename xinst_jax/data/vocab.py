"""Tokenizers behind one `seqio.Vocabulary`: SentencePiece models and tokenizer.json.

What the tokenizer's own library gives is what is fed: the same ids, and the same token,
or none, before a text. Text is only ever text: a special token's name in it is spelled
in ordinary pieces.
"""

import functools
import itertools
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers
from sentencepiece import SentencePieceProcessor

from xinst_jax import shards
from xinst_jax.data.quiet_tensorflow import seqio, tf
from xinst_jax.errors import UserError
from xinst_jax.hf import sentencepiece_model, special_tokens
from xinst_jax.hf import tokenizer as hf_tokenizer
from xinst_jax.hf.tokenizer import SENTENCEPIECE, TOKENIZER

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
      needed_rows: rows that a model's embedding must have for the ids that a text, or a
        token with a use above, becomes. Special tokens of no use here may lie beyond,
        as Gemma 3's for images does.
    """

    path: pathlib.Path
    stop_ids: tuple[int, ...]
    special_ids: frozenset[int]
    needed_rows: int

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

    def _rows_for(self, ids: Iterable[int]) -> int:
        """`needed_rows` of a tokenizer with these ids."""
        roles = (self._bos_id, self._pad_id, self._unk_id, *self.stop_ids)
        used = {*ids} - self.special_ids | {role for role in roles if role is not None}
        return max(used) + 1

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
        """Loads the model and, from the files beside it, what its tokens are for.

        Raises:
          UserError: the file is no SentencePiece model, or has no end token.
        """
        super().__init__(path)
        model = sentencepiece_model.read(path)
        if not model.stops:
            raise UserError(
                f"{path} has no end-of-sequence piece. Expected a SentencePiece model "
                "trained with an eos_id; without one no response could end."
            )
        self._size = len(model.proto.pieces) + len(model.added)
        self._bos_id = model.bos
        self._eos_id = model.stops[0]
        self._pad_id = model.pad
        self._unk_id = model.unk
        self.stop_ids = model.stops
        self.special_ids = model.special_ids()
        self.needed_rows = self._rows_for(range(self._size))

    @functools.cached_property
    def _processor(self) -> SentencePieceProcessor:
        return sentencepiece_model.read(self.path).processor()

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
          UserError: the file is no tokenizer, which token ends a text is not said, or a
            character that is a special token cannot be spelled.
        """
        super().__init__(path)
        tokenizer = self._tokenizer
        said = special_tokens.read(path, tokenizer.token_to_id)
        ids = tokenizer.get_vocab(with_added_tokens=True).values()
        self._size = max(ids, default=-1) + 1
        self._unk_id, self._pad_id = said.unk, said.pad
        if not said.stops:
            raise UserError(
                f"{path}: which token ends a text is not said. Expected 'eos_token' in "
                "tokenizer_config.json or special_tokens_map.json, or 'eos_token_id' "
                "in generation_config.json or config.json beside it."
            )
        self.stop_ids = said.stops
        self._eos_id = said.stops[0]
        self._bos_id = hf_tokenizer.begin_id(tokenizer, str(path))
        added = tokenizer.get_added_tokens_decoder()
        special = {index for index, token in added.items() if token.special}
        self.special_ids = frozenset(special - {self._unk_id})
        self.needed_rows = self._rows_for(ids)
        self._check_spellings()

    @functools.cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        tokenizer = hf_tokenizer.read(self.path)
        tokenizer.encode_special_tokens = True
        # As transformers does with tokens that are special by another file.
        said = special_tokens.read(self.path, tokenizer.token_to_id).special
        added = tokenizer.get_added_tokens_decoder().values()
        marked = {token.content for token in added if token.special}
        tokenizer.add_special_tokens(
            [
                tokenizers.AddedToken(token, normalized=False, special=True)
                for token in sorted(said - marked)
                if tokenizer.token_to_id(token) is not None
            ]
        )
        return tokenizer

    def _encode(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if self.special_ids.isdisjoint(ids):
            return ids
        return [part for index in ids for part in self._spelled(index)]

    def _spelled(self, index: int) -> list[int]:
        """An id of text; of a special token that pieces spell by chance, other pieces.

        A unigram model's pieces, or a BPE's merges, may spell a special token's name.
        """
        if index not in self.special_ids:
            return [index]
        name = self._tokenizer.id_to_token(index) or ""
        if len(name) < 2:
            # Where there is no unknown token, text does not give such a token.
            return [] if self._unk_id is None else [self._unk_id]
        model = self._tokenizer.model
        tokens = model.tokenize(name[:1]) + model.tokenize(name[1:])
        return [part for token in tokens for part in self._spelled(token.id)]

    def _check_spellings(self) -> None:
        """Checks that the character of a special token can be spelled otherwise."""
        pieces = self._tokenizer.get_vocab(with_added_tokens=False).items()
        single = {name for name, index in pieces if index in self.special_ids}
        lost = sorted(name for name in single if len(name) == 1)
        if lost and self._unk_id is None:
            raise UserError(
                f"{self.path}: the character {lost[0]!r} is a special token and "
                "there is no unk_token, so that a text with it cannot be spelled. Name "
                "an unk_token in tokenizer_config.json, or take another tokenizer."
            )

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
    file = hf_tokenizer.find(pathlib.Path(path))
    if file.suffix == ".json":
        return HuggingFaceVocabulary(file)
    return SentencePieceVocabulary(file)


def copy_tokenizer(path: pathlib.Path, directory: pathlib.Path) -> None:
    """Copies a tokenizer, and the files that say what its tokens are for.

    Args:
      path: as for `load_vocabulary`.
      directory: where the copies go: 'tokenizer.json' or 'tokenizer.model', and the
        folder's other tokenizer files under their names.

    Raises:
      UserError: there is no tokenizer, or it cannot be used.
    """
    file = hf_tokenizer.find(path)
    load_vocabulary(path)
    names = {file: TOKENIZER if file.suffix == ".json" else SENTENCEPIECE}
    others = (*_COMPANIONS, SENTENCEPIECE)
    names |= {file.parent / name: name for name in others if file.parent / name != file}
    for source, name in names.items():
        if source.is_file():
            with shards.atomic_path(directory / name) as temporary:
                shutil.copyfile(source, temporary)
