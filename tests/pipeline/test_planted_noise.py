"""Noise planted at known rates; what of it is found, and by which filter."""

import importlib.util
import json
import pathlib
import string

import numpy as np
import pytest

from tools.noise import judged, kinds, personal, phrases, tables
from xinst_jax.config import CorpusConfig
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import page_lines

_ROOT = pathlib.Path(__file__).parents[2]
_SAMPLE = _ROOT / "data" / "sample" / "corpus"
_spec = importlib.util.spec_from_file_location(
    "planted_noise", _ROOT / "tools" / "planted_noise.py"
)
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


def _texts(code: str) -> list[tuple[str, str]]:
    lines = (_SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["id"], clean(row["text"])) for row in rows if len(row["text"]) > 400]


def test_each_kind_is_planted_in_the_share_asked_for():
    texts = {"fi": [(str(n), f"Teksti numero {n}. Se on tässä.") for n in range(200)]}
    rows = kinds.plant(texts, share=0.05, seed=0)["fi"]
    assert rows == kinds.plant(texts, share=0.05, seed=0)["fi"]
    assert rows != kinds.plant(texts, share=0.05, seed=1)["fi"]
    for kind in kinds.KINDS:
        assert sum(row.kind == kind for row in rows) == 10
    twins = [row for row in rows if row.twin]
    assert len(rows) == 200 + len(twins)
    assert {row.twin for row in twins} <= {row.id for row in rows}


_WITHIN = ("menu_lines", "tail_links", "mixed_language", "cookie_notice", "caption")
_PERSONAL = ("contact", "phone_own_digits", "ip_address", "card_number", "iban")


@pytest.fixture(scope="module")
def planted() -> list[kinds.Planted]:
    texts = {code: _texts(code) for code in ("fi", "th")}
    made = kinds.plant(texts, share=1 / len(kinds.KINDS), seed=1)
    return [row for rows in made.values() for row in rows]


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_what_is_planted_differs_from_what_it_was_made_of(kind: str, planted):
    rows = [row for row in planted if row.kind == kind]
    assert rows
    for row in rows:
        if kind != "duplicate":
            assert row.text != row.original
        if kind in (*_WITHIN, "read_more", *_PERSONAL):
            assert all(noise in row.text for noise in row.noise)
            assert all(noise not in row.original for noise in row.noise)
        if kind == "cut_text":
            assert row.original.startswith(row.text)
        if kind == "cut_start":
            assert row.original.endswith(row.text)
            before = row.original[: -len(row.text)].rstrip(" ")
            # It begins inside a sentence, which nothing but a letter or mark precedes.
            assert before[-1] not in ".!?…\n" and row.text[0].isalpha()


@pytest.mark.parametrize("code", BUILT_IN)
def test_numbers_have_right_check_digits_in_the_digits_of_the_script(code: str):
    rng = np.random.default_rng(3)
    for _ in range(20):
        card, phone = personal.card(rng), personal.phone(rng)
        digits = [int(c) for c in card if c.isdecimal()][::-1]
        assert len(digits) == 16
        odd = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
        assert (sum(digits[::2]) + odd) % 10 == 0
        account = personal.iban(rng).replace(" ", "")
        places = string.digits + string.ascii_uppercase
        number = "".join(str(places.index(c)) for c in account[4:] + account[:4])
        assert int(number) % 97 == 1
        own = personal.own_digits(f"{card} {phone}", code)
        assert own.isascii() == (BUILT_IN[code].scripts == ("Latin",))
        assert [int(c) for c in own if c.isdecimal()] == [
            int(c) for c in card + phone if c.isdecimal()
        ]


def test_phrases_are_not_the_lists_of_the_filters():
    """What no list has must be missed by some filter, or the tables show nothing."""
    missed = set()
    for code, language in BUILT_IN.items():
        for wordings in (phrases.READ_MORE, phrases.CAPTIONS, phrases.COOKIE_NOTICES):
            for wording in wordings[code]:
                line = clean(wording.format(title="Aa bb", name="Aa bb"))
                left, _ = page_lines.without_frame(f"{line}\n\nText.", language)
                missed |= {(code, wording)} if line in left else set()
    assert 5 < len(missed) < 55


@pytest.fixture(scope="module")
def found() -> dict[str, judged.Found]:
    path = str(_SAMPLE / "{lang}.jsonl")
    return tool.study(path, ["fi", "th"], 40, share=0.05, seed=0)


def test_what_shows_on_a_document_alone_is_caught_and_a_twin_is_found(found):
    for code, each in found.items():
        for kind in ("wrong_language", "duplicate", "near_duplicate", "mojibake"):
            assert each.caught[kind] == each.planted[kind] > 0, (code, kind)
        for kind in _PERSONAL:
            assert each.caught[kind] == each.planted[kind] > 0, (code, kind)
            # Only what is refused as a whole is not masked.
            assert each.meant[kind] >= each.kept[kind], (code, kind)
        assert each.clean_texts > 0


def test_every_catch_has_a_filter_to_its_name(found):
    for each in found.values():
        for kind in kinds.KINDS:
            named = [
                name
                for counts in (each.dropped, each.cut_out)
                for (of, name), n in counts.items()
                if of == kind and n
            ]
            assert bool(named) == bool(each.caught[kind]), kind
            assert each.meant[kind] <= each.caught[kind] <= each.planted[kind]


def test_a_document_that_another_filter_drops_is_not_put_to_the_one_meant():
    """The reason of a rejected text counts only if that text has the noise."""
    row = kinds.Planted("a", "cut_text", "Yksi. Kaksi. Kol", "Yksi. Kaksi. Kolme.")
    texts = judged._Texts(
        {"a": [], "": []}, {"a": [("too_short", "Yksi."), ("few_words", "Kol")], "": []}
    )
    assert judged._who(row, texts, lambda text: {}) == ({"few_words"}, set())
    assert "few_words" not in kinds.KINDS["cut_text"].meant


def test_a_text_whose_repetition_was_kept_instead_is_not_wrongly_dropped(found):
    for each in found.values():
        assert not each.clean_dropped["duplicate"]


def test_what_went_from_documents_left_alone_is_counted_by_kind_and_language():
    menu = "Etusivu\nUutiset\nPalvelut\nOta yhteyttä"
    body = "Lumi satoi koko yön, ja aamulla pihalla oli hanki. Lapset juoksivat ulos."
    config = CorpusConfig(min_chars=20, quality_filters=False)
    notes = tool._notes(config, BUILT_IN["fi"])
    own = {code: judged.Found() for code in ("fi", "sw")}
    for text in (
        body,
        f"{menu}\n\n{body}\nKuva: Aino Aho",
        f"{body}\n\n{menu}\nTietoa meistä",
        f"{body} Soita 040 123 4567 tai 050 765 4321, älä 8.8.8.8.",
    ):
        judged.count_cut(own["fi"], notes(text))
    judged.count_cut(own["sw"], {})
    lines = tables.cut_out_of_clean(own).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    fi, sw, every = (dict(zip(rows[0], row, strict=True)) for row in rows[2:])
    found = {name: cell for name, cell in fi.items() if cell != "0"}
    assert found == {
        "left alone": "fi",
        "documents": "4",
        "menu line": "9 in 2",
        "caption line": "1 in 1",
        "masked phone": "2 in 1",
        "masked ip": "1 in 1",
    }
    assert sw == {**dict.fromkeys(fi, "0"), "left alone": "sw", "documents": "1"}
    assert every == {**fi, "left alone": "all", "documents": "5"}


def test_tables_have_a_line_a_kind_and_the_counts_of_all_languages(found):
    every = judged.pooled(found.values())
    assert every.planted["menu"] == sum(each.planted["menu"] for each in found.values())
    for made in (tables.caught(found), tables.by_filter(found)):
        lines = made.splitlines()
        assert len(lines) == 2 + len(kinds.KINDS)
        assert len({line.count("|") for line in lines}) == 1
        total = f"{every.caught['menu']}"
        assert total in lines[2]
    for made in (tables.left_alone(found), tables.cut_out_of_clean(found)):
        lines = made.splitlines()
        assert [line.split(" | ")[0] for line in lines[2:]] == ["| fi", "| th", "| all"]
    assert all(0 < e.clean_documents <= e.clean_texts for e in found.values())


@pytest.mark.parametrize("hits,of", [(0, 5), (5, 5), (13, 15), (140, 300)])
def test_intervals_are_wilsons(hits: int, of: int):
    z = 1.959963984540054
    share, low_high = hits / of, tables.wilson(hits, of)
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    expected = (middle - half / (1 + z * z / of), middle + half / (1 + z * z / of))
    assert low_high == pytest.approx(expected, abs=1e-9)
