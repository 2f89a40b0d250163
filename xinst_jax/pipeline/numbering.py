"""Ids that no two rows share, made of ids that files gave to several."""

import regex

# An id that a file gave may end so too.
_NUMBER = regex.compile(r"~\d+\Z")


def numbered(id: str, number: int) -> str:
    """The id of the n-th row that was given an id, from 1.

    The first keeps it, the n-th has '~n' behind it. One that ends so itself always has
    a number behind it, so that no other row's is the same: cut off, the number leaves
    what was given.

    >>> numbered("x", 1), numbered("x", 2), numbered("x~2", 1)
    ('x', 'x~2', 'x~2~1')
    """
    return f"{id}~{number}" if number > 1 or _NUMBER.search(id) else id


def given(id: str) -> str:
    """The id that `numbered` made an id of.

    >>> given("x"), given("x~2"), given("x~2~1")
    ('x', 'x', 'x~2')
    """
    return _NUMBER.sub("", id)
