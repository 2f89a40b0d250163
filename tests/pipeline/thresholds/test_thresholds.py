"""Every threshold of the registry is one: set otherwise, it changes a verdict."""

import dataclasses
from typing import Any

import pytest

from tests.pipeline.thresholds import pages, pairs, quality, wholes
from tests.pipeline.thresholds.verdicts import Verdict
from xinst_jax.config import RunConfig, registry
from xinst_jax.config.fields import Thresholds

CASES = (
    *(pages.CORPUS + quality.FINEWEB2 + wholes.CUTS),
    *(pairs.SEED + pairs.RULES),
)


def with_value(config: Any, name: str, value: Any) -> Any:
    """The configuration with one threshold, wherever in it the threshold stands."""
    cls, _, field = name.partition(".")
    if type(config).__name__ == cls:
        return dataclasses.replace(config, **{field: value})
    for part in dataclasses.fields(config):
        inner = getattr(config, part.name)
        if type(inner).__name__ == cls:
            changed = dataclasses.replace(inner, **{field: value})
            return dataclasses.replace(config, **{part.name: changed})
    raise AssertionError(f"no {cls} in {type(config).__name__}")


@pytest.mark.parametrize(
    ("name", "value", "asked", "before", "after"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_a_threshold_decides(name, value, asked: Verdict, before, after):
    assert asked.of(asked.config) == before
    assert asked.of(with_value(asked.config, name, value)) == after != before


def test_there_is_a_case_for_every_threshold_and_a_meaning():
    known = {one.name: one for one in registry.thresholds()}
    assert {case[0] for case in CASES} == set(known)
    assert all(one.meaning for one in known.values())


def test_the_registry_has_every_class_of_thresholds():
    def classes(config: Any) -> set[type]:
        inner = [getattr(config, f.name) for f in dataclasses.fields(config)]
        found = [classes(one) for one in inner if dataclasses.is_dataclass(one)]
        own = {type(config)} if isinstance(config, Thresholds) else set()
        return own.union(*found)

    listed = {cls for page in registry.PAGES.values() for cls in page}
    assert classes(RunConfig(name="all", languages=("fi",))) <= listed
    assert set(registry.BESIDE) <= listed
