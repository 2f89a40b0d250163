"""What every configuration is made with: types that are checked, and gin's names."""

import dataclasses
import math
import typing
from collections.abc import Callable
from typing import Any

import gin

from xinst_jax.errors import UserError

_OPERATIONAL = "operational"
_RECORDED_IF_SET = "recorded_if_set"
_LEAST, _MOST = "least", "most"


def positive(config: Any, *names: str) -> None:
    """Raises UserError unless each named field is greater than zero."""
    for name in names:
        if not getattr(config, name) > 0:
            raise UserError(
                f"{type(config).__name__}.{name} must be positive, found "
                f"{getattr(config, name)!r}."
            )


def not_negative(config: Any, *names: str) -> None:
    """Raises UserError unless each named field is zero or more."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise UserError(
                f"{type(config).__name__}.{name} must not be negative, found "
                f"{getattr(config, name)!r}."
            )


def share(config: Any, *names: str) -> None:
    """Raises UserError unless each named field lies in [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(
                f"{type(config).__name__}.{name} is a share between 0 and 1, found "
                f"{getattr(config, name)!r}."
            )


def decay(config: Any, *names: str) -> None:
    """Raises UserError unless each named field lies in [0, 1): at 1 nothing decays."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise UserError(
                f"{type(config).__name__}.{name} is a decay of 0 or more and below 1, "
                f"found {getattr(config, name)!r}."
            )


def one_of(config: Any, name: str, values: tuple[str, ...]) -> None:
    """Raises UserError unless the named field is one of `values`."""
    if getattr(config, name) not in values:
        raise UserError(
            f"{type(config).__name__}.{name} = {getattr(config, name)!r}; expected one "
            f"of {', '.join(values)}."
        )


def operational(default: Any) -> Any:
    """A field that a finished stage does not depend on: changed, nothing is made anew.

    It says how a run is watched, when it stops, or how the devices go about it, as a
    mesh does: what comes out of a run that ends may differ in the last bits of sums.
    """
    return dataclasses.field(default=default, metadata={_OPERATIONAL: True})


def is_operational(field: dataclasses.Field) -> bool:
    """Whether a field was declared so."""
    return field.metadata.get(_OPERATIONAL, False)


def recorded_if_set(default: Any) -> Any:
    """A field that a stage's record names only where it is not the default.

    What was made before there was such a field so stays up to date.
    """
    return dataclasses.field(default=default, metadata={_RECORDED_IF_SET: True})


def is_recorded(field: dataclasses.Field, value: Any) -> bool:
    """Whether a stage's record names a field that has this value."""
    if dataclasses.is_dataclass(value) and all(
        not is_recorded(part, getattr(value, part.name))
        for part in dataclasses.fields(value)
    ):
        return False
    if field.metadata.get(_RECORDED_IF_SET, False):
        return value != field.default
    return not is_operational(field)


def by_language(config: Any, *names: str) -> None:
    """Makes each named field pairs of a language code and a share, and checks them.

    Raises:
      UserError: a field is no such pairs, or names a language twice.
    """
    for name in names:
        pairs = getattr(config, name)
        if not all(
            isinstance(pair, (tuple, list))
            and len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], (int, float))
            and not isinstance(pair[1], bool)
            and 0 <= pair[1] <= 1
            for pair in pairs
        ) or len({pair[0] for pair in pairs}) < len(pairs):
            raise UserError(
                f"{type(config).__name__}.{name} = {pairs!r}; expected pairs of a "
                "language code, each once, and a number between 0 and 1, such as "
                "(('sw', 0.7), ('ta', 0.4))."
            )
        object.__setattr__(config, name, tuple((code, value) for code, value in pairs))


class Typed:
    """Refuses a field whose value is not of the type it is declared with."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, wanted = getattr(self, field.name), hints[field.name]
            kind = typing.get_origin(wanted) or wanted
            accepted = {float: (int, float), tuple: (tuple, list)}.get(kind, kind)
            if not isinstance(value, accepted) or (
                isinstance(value, bool) and kind is not bool
            ):
                raise UserError(
                    f"{type(self).__name__}.{field.name} = {value!r}; expected a "
                    f"{kind.__name__}."
                )


def threshold(default: Any, least: float = 0, most: float = math.inf) -> Any:
    """A field of `Thresholds`: a number within bounds, recorded only where it is set.

    Args:
      default: a whole number where only whole ones make sense; None where what is not
        set comes from a table, of which the field is an exception.
      least: smallest number accepted.
      most: greatest; 1 for a share.
    """
    metadata = {_RECORDED_IF_SET: True, _LEAST: least, _MOST: most}
    return dataclasses.field(default=default, metadata=metadata)


class Thresholds:
    """Numbers that decide what is kept, each declared by `threshold`.

    A stage's record names those that are not the defaults, and no others: what was made
    before there was such a number stays up to date, and what is made with other ones is
    made anew.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            least, most = field.metadata[_LEAST], field.metadata[_MOST]
            whole = isinstance(field.default, int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not least <= value <= most
            ):
                raise UserError(
                    f"{type(self).__name__}.{field.name} = {value!r}; expected "
                    f"{'a whole number' if whole else 'a number'} "
                    + (
                        f"of {least:g} or more."
                        if most == math.inf
                        else f"between {least:g} and {most:g}."
                    )
                )

    def changed(self) -> dict[str, Any]:
        """The fields that are not the defaults, with their values."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        }


def registered(cls: type) -> type:
    """Lets gin bind the class, as `Class.field = value`."""
    return gin.configurable(cls, module="xinst_jax")


def scoped(cls: type, scope: str, **defaults: Any) -> Callable[[], Any]:
    """Builds a `cls` under a gin scope: `scope/Class.field = value` is for it alone.

    Args:
      cls: a registered class.
      scope: the scope's name.
      defaults: under this scope, of fields that gin binds neither for it nor for all.
    """

    def build() -> Any:
        with gin.config_scope(scope):
            bound = gin.get_bindings(cls, resolve_references=False)
            unbound = {name: defaults[name] for name in defaults.keys() - bound.keys()}
            return cls(**unbound)

    return build
