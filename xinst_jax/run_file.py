"""From a gin file and overrides on the command line to a `RunConfig`."""

import difflib
import functools
import logging
import pathlib
import re
import tokenize
from collections.abc import Callable, Mapping
from typing import Any

import gin

from xinst_jax import config as config_lib
from xinst_jax.errors import UserError

PROJECT = pathlib.Path(__file__).resolve().parent.parent
"""Where `gin/` and `data/` are, for paths that do not exist from where one stands."""

_SCOPES = {
    "TrainConfig": ("base", "generator", "rater", "follower", "sft"),
    "LoraConfig": ("base", "generator", "rater", "follower", "sft"),
    "DecodeConfig": ("generate", "answer"),
    "EndpointConfig": ("judge", "opponent", "translator"),
}

# A scope of the first may have any name; of the second it is a language of the run,
# which is known when the run is.
_SCOPED_BY_LANGUAGE = ("LanguageConfig", "FineWeb2Config")


def load(
    gin_file: str, overrides: list[str], *, leave_open: bool = False
) -> config_lib.RunConfig:
    """Reads a run file and builds the run it describes.

    Args:
      gin_file: path of the file; 'include' lines in it are found from the current
        directory, then from the project's own.
      overrides: 'NAME=VALUE' texts in gin's syntax, NAME a macro that the file defines
        or a 'Class.field' (or 'scope/Class.field'); a later one wins.
      leave_open: take the empty text for macros that the file leaves to the command
        line and that are not given: for who reads no data.

    Raises:
      UserError: the file is missing or does not parse, a name in it or in an override
        does not exist, or a macro is left open.
    """
    path = _find(gin_file)
    gin.clear_config()
    try:
        return _built(path, gin_file, overrides, leave_open)
    finally:
        # What is made later, by code or by a test, must not take a run's values.
        gin.clear_config()


def _built(
    path: pathlib.Path, gin_file: str, overrides: list[str], leave_open: bool
) -> config_lib.RunConfig:
    for place in (pathlib.Path.cwd(), PROJECT):
        gin.add_config_file_search_path(str(place))
    # Gin logs every place where it does not find a file before the one where it does.
    logging.disable(logging.ERROR)
    try:
        _told(gin_file, lambda: gin.parse_config_file(str(path)))
    finally:
        logging.disable(logging.NOTSET)
    for override in overrides:
        statement = _checked(override, gin_file)
        _told(f"--gin.{override}", functools.partial(gin.parse_config, statement))
    _check_scopes(_SCOPES)
    if leave_open:
        for name in _missing():
            gin.parse_config(f"{name} = ''")
    _check_required(gin_file)
    run = _told(gin_file, config_lib.RunConfig)
    codes = tuple(code.replace("-", "_") for code in run.languages)
    _check_scopes({"FineWeb2Config": codes})
    return run


def _told(place: str, act: Callable[[], Any]) -> Any:
    """Does what gin does, with its errors as one line that names the place."""
    try:
        return act()
    except UserError as error:
        raise UserError(str(error).split("\n")[0]) from error
    except (
        ValueError,
        TypeError,
        SyntaxError,
        OSError,
        RuntimeError,
        tokenize.TokenError,
    ) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        hint = ""
        if "malformed node" in reason or isinstance(error, SyntaxError):
            hint = " Text needs quotes inside the shell's: --gin.NAME=\"'text'\"."
        raise UserError(f"{place}: {reason}.{hint}") from error


def project_path(path: str) -> pathlib.Path:
    """A relative path as seen from the current directory, else from the project."""
    here = pathlib.Path(path)
    there = PROJECT / path
    return there if not here.exists() and there.exists() else here


def _find(gin_file: str) -> pathlib.Path:
    path = project_path(gin_file)
    if not path.is_file():
        raise UserError(
            f"No gin file {gin_file!r}. Run files are in {PROJECT / 'gin' / 'runs'}."
        )
    return path


def _checked(override: str, gin_file: str) -> str:
    """The override as a gin statement, once its name is known to exist."""
    name, equals, value = override.partition("=")
    name = name.strip()
    if not equals or not value.strip():
        raise UserError(f"--gin.{override}: expected --gin.NAME=VALUE.")
    if "." not in name:
        macros = sorted(
            set(re.findall(r"^([A-Za-z_]\w*) = ", gin.config_str(), re.MULTILINE))
        )
        if name not in macros:
            near = difflib.get_close_matches(name, macros, 3, 0.5) or macros
            raise UserError(
                f"--gin.{name}: {gin_file} defines no macro of that name. Known: "
                f"{', '.join(near) or 'none'}; or give a field as Class.field."
            )
    return f"{name} = {value.strip()}"


def _check_scopes(scopes: Mapping[str, tuple[str, ...]]) -> None:
    """Gin accepts a misspelt scope in silence; the run would ignore its values.

    Args:
      scopes: those of some classes, by the class; of classes that are in neither this
        nor `_SCOPES` there are none.
    """
    bound = re.findall(
        r"^(\w+)/(?:xinst_jax\.)?(\w+)\.\w+ =", gin.config_str(), re.MULTILINE
    )
    for scope, name in sorted(set(bound)):
        if name in _SCOPED_BY_LANGUAGE and name not in scopes:
            continue
        known = {**_SCOPES, **scopes}.get(name, ())
        if scope not in known:
            raise UserError(
                f"{scope}/{name} in a gin binding: nothing is built under that scope. "
                f"Scopes of {name}: {', '.join(known) or 'none'}."
            )


def _check_required(gin_file: str) -> None:
    missing = _missing()
    if missing:
        raise UserError(
            f"{gin_file} leaves {', '.join(missing)} to the command line: give "
            + " ".join(f"--gin.{name}=VALUE" for name in missing)
            + " (text in quotes inside quotes: --gin.NAME=\"'text'\")."
        )


def _missing() -> list[str]:
    """Macros without a value: gin hands their %gin.REQUIRED on as if it were one."""
    return re.findall(r"^(\w+) = %gin\.REQUIRED", gin.config_str(), re.MULTILINE)
