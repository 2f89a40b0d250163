"""A tokenizer of the run's own, trained with SentencePiece on the run's texts."""

import itertools
import pathlib
from collections.abc import Iterable
from io import BytesIO

from sentencepiece import SentencePieceTrainer

from xinst_jax import shards
from xinst_jax.config import TokenizerConfig
from xinst_jax.errors import UserError

_MAX_LINE_BYTES = 1 << 24


def train_sentencepiece(
    texts: Iterable[str], path: pathlib.Path, config: TokenizerConfig
) -> None:
    """Trains a SentencePiece BPE model; equal texts in equal order give equal bytes.

    Every text can be spelled and comes back exactly: unseen characters, and line
    breaks, are spelled in bytes, and nothing is normalised. Digits stand alone. Ids are
    Llama's: unknown 0, begin 1, end 2, the bytes 3 to 258, then the pieces; there is no
    padding. The three are spelled `<|...|>` rather than `<s>`: a Hugging Face tokenizer
    takes any spelling of a special token in a text for the token itself, and `<s>` is
    an HTML tag that web text contains. Texts too few for `config.vocab_size` pieces
    give fewer.

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
            unk_piece="<|unknown|>",
            bos_piece="<|begin_of_text|>",
            eos_piece="<|end_of_text|>",
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"TokenizerConfig.vocab_size = {config.vocab_size} does not do for this "
            f"text: {error}. Raise vocab_size, or lower character_coverage."
        ) from error
    shards.write_bytes(path, model.getvalue())
