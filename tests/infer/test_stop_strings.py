"""A stop string cuts a row at one place, whenever it is looked for."""

import pytest

from xinst_jax.infer.stop_strings import cut


def _text_of(tokens):
    return bytes(tokens).decode(errors="replace")


def test_text_and_tokens_end_before_the_string():
    assert cut(list(b"one. two"), ("two", ". "), _text_of) == (3, "one")
    assert cut(list(b"one"), ("two",), _text_of) is None
    assert cut(list(b"stop"), ("stop",), _text_of) == (0, "")


def test_a_token_that_reaches_into_the_string_is_kept_but_its_text_is_not():
    pieces = ["on", "e.", " t"]
    text_of = lambda tokens: "".join(pieces[token] for token in tokens)  # noqa: E731
    assert cut([0, 1, 2], (". ",), text_of) == (2, "one")


@pytest.mark.parametrize("looked", range(8, 15))
def test_the_string_that_is_complete_first_counts_however_late_it_is_looked_for(looked):
    text = list("ääb cde fg".encode())[:looked]
    # 'b cde f' begins before 'cd', but is complete after it.
    assert cut(text, ("cd", "b cde f"), _text_of) == (6, "ääb ")


def test_a_letter_of_several_tokens_is_kept_whole():
    assert cut(list("ä!".encode()), ("!",), _text_of) == (2, "ä")
