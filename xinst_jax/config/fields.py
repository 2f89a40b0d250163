"""What every configuration is made with: types that are checked, and gin's names."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import gin

from xinst_jax.errors import UserError

_OPERATIONAL = "operational"


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
        if getattr(config, name) < 0:
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


def one_of(config: Any, name: str, values: tuple[str, ...]) -> None:
    """Raises UserError unless the named field is one of `values`."""
    if getattr(config, name) not in values:
        raise UserError(
            f"{type(config).__name__}.{name} = {getattr(config, name)!r}; expected one "
            f"of {', '.join(values)}."
        )


def operational(default: Any) -> Any:
    """A field that a finished stage does not depend on: changed, nothing is made anew.

    It says how a run is watched or when it stops, not what comes out of one that ends.
    """
    return dataclasses.field(default=default, metadata={_OPERATIONAL: True})


def is_operational(field: dataclasses.Field) -> bool:
    """Whether a field was declared so."""
    return field.metadata.get(_OPERATIONAL, False)


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


def registered(cls: type) -> type:
    """Lets gin bind the class, as `Class.field = value`."""
    return gin.configurable(cls, module="xinst_jax")


def scoped(cls: type, scope: str) -> Callable[[], Any]:
    """Builds a `cls` under a gin scope: `scope/Class.field = value` is for it alone."""

    def build() -> Any:
        with gin.config_scope(scope):
            return cls()

    return build
