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
        *PIPELINE.glob("corpus/*.py"),
        *PIPELINE.glob("rules/*.py"),
        *(
            PIPELINE / f"{name}.py"
            for name in (
                *("clean", "endings", "langid", "openings", "segment", "seed_pairs"),
                "translate",
            )
        ),
    ]
)
NO_DECISION = {
    "clean:_MIN_MOJIBAKE": "when ftfy is asked to repair a text, which drops none",
    "corpus/decontamination:_is_unspaced": "most letters: whether words are spaced",
    "corpus/decontamination:_names": "how many folders a set's name has",
    "corpus/documents:_SHARD_DOCUMENTS": "of a language that are put in order at once",
    "corpus/documents:is_first": "bytes of a part's number",
    "corpus/documents:of_row": "digits of an id",
    "corpus/duplicates:_by_both": "two halves of a pair",
    "corpus/duplicates:_light": "bytes of a digest",
    "corpus/fineweb2:VALUES": "FineWeb-2's, where the registry has none set",
    "corpus/fineweb2:_NOTHING_ASKED": "bounds that every text keeps",
    "corpus/fineweb2:_repeated": "the lengths of n-grams, as the fields are named",
    "corpus/fineweb2:_top": "likewise",
    "corpus/fineweb2:of": "likewise",
    "corpus/near_duplicates:_HASH_SEED": "of the MinHash permutations",
    "corpus/near_duplicates:_MULTIPLIER": "of a hash",
    "corpus/near_duplicates:_SHIFT": "of a hash",
    "corpus/near_duplicates:_words": "bytes of a code point",
    "corpus/near_duplicates:band_keys": "bytes of a band's number",
    "corpus/personal_data:_BEFORE": "how far back a word for a phone is looked for, "
    "behind which a number is masked; drops no text, as all of personal_data",
    "corpus/personal_data:_is_card": "the Luhn check",
    "corpus/personal_data:_is_iban": "ISO 13616's lengths and ISO 7064's check",
    "corpus/personal_data:_is_public": "the version of an address",
    "corpus/personal_data:_is_phone": "ITU-T E.164's digits: at most 15, and 8 where "
    "no word says that it is a phone's",
    "corpus/phrases:Builder": "sizes of arrays",
    "corpus/phrases:Phrases": "bits of a byte",
    "corpus/phrases:Units": "bytes of UTF-8",
    "corpus/phrases:_INVERSE": "of a hash",
    "corpus/phrases:_MULTIPLIER": "of a hash",
    "corpus/phrases:_SHIFT": "of a hash",
    "corpus/phrases:_powers": "of a hash",
    "corpus/phrases:_slots": "bits of a hash",
    "corpus/prepare:_checked": "characters of a text that are shown",
    "endings:_TAIL_CHARS": "more than the marks and words of an end have",
    "langid:_cld2_shares": "CLD2 tells shares in per cent",
    "langid:right_paragraphs": "a text of one paragraph has no other",
    "openings:_START_CHARS": "more than a connective or the number of an item has",
    "openings:_is_ordinal": "groups of a pattern",
    "openings:goes_on": "the second letter",
    "rules/responses:_NUMBERS": "numbers by their names",
    "rules/responses:is_unfinished": "most letters: whether a response is in Thai",
    "seed_pairs:_SHOWN_CHARS": "of a text that was dropped unread",
    "seed_pairs:_checked": "digits of an id, and characters that are shown",
    "seed_pairs:_titled": "bytes of a digest",
    "segment:_MAX_TRIES": "when a document has too many places to try every cut",
    "segment:_UNITS_A_SEGMENT": "how fine the places are that are tried then",
    "segment:_WORD_CHARS": "more than the word before a mark has",
    "segment:_bounded": "what is tried grows with the square",
    "translate:flaw": "characters of a text that are shown",
}
"""Where the filters have numbers that are no thresholds, and why.

Lengths inside a pattern are not looked at: they say what a date or a word looks like.
"""


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
    """Where a module has numbers: names that are given one, and functions with one.

    Inside a function 0 and 1 are none: a start, a step, a share that is whole.
    """
    found = set()
    module = path.relative_to(PIPELINE).with_suffix("").as_posix()
    for node in ast.parse(path.read_text("utf-8")).body:
        values = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
        counted = [one for one in values if type(one) in (int, float)]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
            counted = [one for one in counted if one not in (0, 1)]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inner = [name for target in targets for name in ast.walk(target)]
            names = [name.id for name in inner if isinstance(name, ast.Name)]
        else:
            names = ["?"]
        found |= {f"{module}:{name}" for name in names if counted}
    return found


def test_no_filter_has_a_number_of_its_own():
    found = set().union(*map(numbers, FILTERS))
    assert found == set(NO_DECISION)
    assert all(NO_DECISION.values())
