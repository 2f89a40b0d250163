"""The registry is the only place of thresholds, and docs/ says what it says."""

import ast
import importlib.util
import pathlib
import types

import pytest

from xinst_jax.config import registry

ROOT = pathlib.Path(__file__).parents[3]
PIPELINE = ROOT / "xinst_jax" / "pipeline"
FILTERS = sorted(
    [
        *(
            path
            for path in PIPELINE.glob("corpus/*.py")
            if path.stem != "personal_data"
        ),
        *PIPELINE.glob("rules/*.py"),
        *(PIPELINE / f"{name}.py" for name in ("langid", "segment", "seed_pairs")),
    ]
)
NO_DECISION = {
    "_HASH_SEED": "of the MinHash permutations",
    "_MULTIPLIER": "of the hashes of phrases",
    "_MAX_TRIES": "when a document has too many places to try every cut",
    "_SHARD_DOCUMENTS": "how many of a language's documents are put in order at once",
    "_SHOWN_CHARS": "of a text that was dropped unread",
    "_UNITS_A_SEGMENT": "how fine the places are that are tried then",
}
"""Numbers in the filters that decide of no text, and what they are."""


def tool() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(
        "thresholds_table", ROOT / "tools" / "thresholds_table.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", list(registry.PAGES))
def test_the_table_in_docs_is_what_the_classes_say(page):
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert text == tool().written(page), "run python tools/thresholds_table.py"


def numbers(path: pathlib.Path) -> set[str]:
    """Names that a module gives to numbers."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign):
            inner = [*ast.walk(node.value)]
            values = [one.value for one in inner if isinstance(one, ast.Constant)]
            others = [one for one in inner if isinstance(one, (ast.Call, ast.Dict))]
            if any(type(one) in (int, float) for one in values) and not others:
                found |= {
                    name.id
                    for target in node.targets
                    for name in ast.walk(target)
                    if isinstance(name, ast.Name)
                }
    return found


def test_no_filter_has_a_number_of_its_own():
    found = set().union(*map(numbers, FILTERS))
    assert found == set(NO_DECISION)
