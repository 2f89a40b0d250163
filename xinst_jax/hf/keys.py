"""Values of a config.json, each of the type that its key has, or an error that says so.

`within` is the dictionary that a key lies in, with a dot: 'rope_parameters.'.
"""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from xinst_jax.errors import UserError

_CALLED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    dict: "an object",
    list: "a list",
}


def value(
    record: Mapping[str, Any],
    key: str,
    kind: type,
    path: pathlib.Path,
    within: str = "",
) -> Any:
    """What stands under a key, None where it is absent or null.

    Args:
      record: a config.json, or a dictionary inside it.
      key: of the record.
      kind: bool, int, float (which a whole number is too), str, dict or list.
      path: what errors call the file.
      within: what errors put before the key.

    Raises:
      UserError: it is of another type, or a number that is infinite or none.
    """
    found = record.get(key)
    if found is not None and not _is(found, kind):
        raise _error(found, key, _CALLED[kind], path, within)
    return found


def positive(
    record: Mapping[str, Any],
    key: str,
    kind: type,
    path: pathlib.Path,
    within: str = "",
) -> Any:
    """The number above zero under a key that must be there; arguments as of `value`.

    Raises:
      UserError: there is none.
    """
    found: Any = record.get(key)
    if not _is(found, kind) or found <= 0:
        raise _error(found, key, f"{_CALLED[kind]} above 0", path, within)
    return found


def _is(found: Any, kind: type) -> bool:
    if kind not in (int, float):
        return isinstance(found, kind)
    number = isinstance(found, int if kind is int else (int, float))
    return (
        number
        and not isinstance(found, bool)
        and -sys.float_info.max <= found <= sys.float_info.max
    )


def _error(
    found: Any, key: str, expected: str, path: pathlib.Path, within: str
) -> UserError:
    return UserError(f"{path}: {within}{key} = {found!r:.80}; expected {expected}.")
