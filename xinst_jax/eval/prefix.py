"""Which token stands before a text that has no context."""

from typing import TYPE_CHECKING

from xinst_jax.hf import special_tokens
from xinst_jax.hf import tokenizer as hf_tokenizer

if TYPE_CHECKING:
    from xinst_jax.data.vocab import Vocabulary


def prefix_id(vocabulary: "Vocabulary") -> int:
    """The id that stands before a text that has no context.

    The harness takes the token that the tokenizer calls BOS, whether or not it is put
    before texts, and the end token where there is none.
    """
    if vocabulary.bos_id is not None:
        return vocabulary.bos_id
    named = None
    if vocabulary.path.suffix == ".json":
        tokenizer = hf_tokenizer.read(vocabulary.path)
        named = special_tokens.read(vocabulary.path, tokenizer.token_to_id).bos
    return vocabulary.eos_id if named is None else named
