"""Seed pairs: whole, clean, each once, and split alike in every language."""

import collections
import json
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from tests import hostile
from xinst_jax import shards
from xinst_jax.config import RateConfig, SeedConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import levels, rules, seed, seed_split, verbs

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "seed"
FI = {"fi": BUILT_IN["fi"]}


def stage(path):
    return StageDirectory(path, "seed", {}, {})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def prepare(tmp_path, rows, **settings):
    write(tmp_path / "fi.jsonl", rows)
    config = SeedConfig(path=f"{tmp_path}/{{lang}}.jsonl", **settings)
    counts = seed.run(stage(tmp_path / "out"), config, FI)["fi"]
    kept = shards.read_rows(tmp_path / "out" / "fi")
    rejected = shards.read_rows(tmp_path / "out" / "rejected" / "fi")
    assert counts.rows_in == counts.rows_out + sum(counts.dropped.values())
    assert counts.rows_out == len(kept)
    assert counts.dropped == collections.Counter(row["reason"] for row in rejected)
    return kept, rejected


def pair(number, **fields):
    return {
        "id": f"s{number}",
        "instruction": f"Say {number}.",
        "output": f"Sanon luvun {number}.",
        **fields,
    }


def test_the_sample_is_kept_whole_with_some_held_out(tmp_path):
    config = SeedConfig(path=f"{SAMPLE}/{{lang}}.jsonl")
    counts = seed.run(stage(tmp_path), config, BUILT_IN)
    held_out = 0
    for code in BUILT_IN:
        lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
        originals = {row["id"]: row for row in map(json.loads, lines)}
        rows = shards.read_rows(tmp_path / code)
        assert [row["id"] for row in rows] == list(originals)
        for row in rows:
            original = originals[row["id"]]
            for name in ("instruction", "output", "source", "license"):
                assert row[name] == original[name]
        splits = collections.Counter(row["split"] for row in rows)
        assert splits["held_out"] >= 1 and splits["train"] >= 8
        assert counts[code].notes["held_out"] == splits["held_out"]
        held_out += splits["held_out"]
    assert 0.04 < held_out / sum(c.rows_out for c in counts.values()) < 0.22


def test_an_instruction_is_on_one_side_in_every_language(tmp_path):
    rows = [pair(number) for number in range(400)]
    for code in ("fi", "sw"):
        write(
            tmp_path / f"{code}.jsonl", [r | {"id": f"{code}{r['id']}"} for r in rows]
        )
    config = SeedConfig(path=f"{tmp_path}/{{lang}}.jsonl", held_out_share=0.2)
    languages = {code: BUILT_IN[code] for code in ("fi", "sw")}
    seed.run(stage(tmp_path / "out"), config, languages)
    sides = [
        {
            r["instruction"]: r["split"]
            for r in shards.read_rows(tmp_path / "out" / code)
        }
        for code in languages
    ]
    assert sides[0] == sides[1]
    share = list(sides[0].values()).count("held_out") / 400
    assert share == pytest.approx(0.2, abs=0.06)


_STORY = "Kettu juoksi metsään, koska kuuli koiran haukkuvan, ja jäi sinne yöksi."
_ANSWERS = {
    # The held-out pair's response, another's under another instruction, and whether
    # that one may be trained on.
    "equal": (_STORY, _STORY.upper(), False),
    "nearly": (_STORY, f"Näin kävi: {_STORY} Aamulla se palasi.", False),
    "sentence": (
        "Kettu jäi metsään koko yöksi.",
        "Kettu jäi metsään koko yöksi",
        False,
    ),
    "short": ("Kyllä, se pitää paikkansa.", "Kyllä, se pitää paikkansa.", True),
    "number": ("1 2 3 4 5 6", "1 2 3 4 5 6", True),
    "other": (_STORY, "Kettu juoksi metsään, koska kuuli suden, ja jäi sinne.", True),
}


@pytest.mark.parametrize("name", list(_ANSWERS))
@pytest.mark.parametrize("code", ["fi", "sw"])
def test_no_pair_is_trained_on_whose_response_is_held_out(tmp_path, name, code):
    """Of whichever language the pair is that holds it out."""
    known, answer, may_be_read = _ANSWERS[name]
    asked = [f"Say {number}." for number in range(40)]
    config = SeedConfig(path=f"{tmp_path}/{{lang}}.jsonl", held_out_share=0.2)
    out = min(asked, key=seed_split.place)
    read = max(asked, key=seed_split.place)
    more = [pair(99, instruction=one, output="Ei.") for one in (out, read)]
    rows = {"fi": [pair(1, instruction=out, output=known)], "sw": more}
    rows[code] = [*rows[code], pair(2, instruction=read, output=answer)]
    for one, found in rows.items():
        write(tmp_path / f"{one}.jsonl", found)
    languages = {one: BUILT_IN[one] for one in ("fi", "sw")}
    counts = seed.run(stage(tmp_path / "out"), config, languages)
    trained = {
        (row["id"], row["output"])
        for row in shards.read_rows(tmp_path / "out" / code)
        if row["split"] == "train"
    }
    rejected = shards.read_rows(tmp_path / "out" / "rejected" / code)
    if may_be_read:
        assert ("s2", answer) in trained and not rejected
    else:
        assert ("s2", answer) not in trained
        (lost,) = rejected
        assert (lost["id"], lost["reason"], lost["text"]) == ("s2", "held_out", answer)
        assert lost["value"].startswith("fi: kettu j")
        assert counts[code].dropped == {"held_out": 1}
    assert counts[code].rows_in == counts[code].rows_out + len(rejected)


def test_of_two_pairs_one_is_held_out_and_of_one_none(tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    two, _ = prepare(tmp_path / "two", [pair(1), pair(2)], held_out_share=0.001)
    one, _ = prepare(tmp_path / "one", [pair(1)], held_out_share=0.001)
    assert sorted(row["split"] for row in two) == ["held_out", "train"]
    assert [row["split"] for row in one] == ["train"]


def test_instructions_are_one_clean_line_and_outputs_keep_theirs(tmp_path):
    row = pair(
        1,
        instruction=" Say\n\n  it &amp; go.\x00 ",
        output="A\u0308iti.\r\n\r\nIsa\x07.",
    )
    kept, _ = prepare(tmp_path, [row])
    assert kept[0]["instruction"] == "Say it & go."
    assert kept[0]["output"] == "Äiti.\n\nIsa."


def test_long_outputs_are_cut_at_a_sentence_end(tmp_path):
    rows = [pair(1, output="Lumi satoi. " * 30), pair(2, output="lumi " * 80)]
    kept, rejected = prepare(tmp_path, rows, max_output_chars=100)
    assert kept[0]["output"] == ("Lumi satoi. " * 8).strip()
    assert [(row["id"], row["reason"]) for row in rejected] == [("s2", "too_long")]


def test_parallel_documents_ask_for_the_text_by_its_title(tmp_path):
    first = "A first sentence that is rather long and goes on. " * 12
    rows = [
        {"id": "p1", "en_text": "Goat and {title}\nThey ran.", "text": "Vuohi juoksi."},
        {"id": "p2", "en_text": first, "text": "Pitka teksti."},
        {"id": "p3", "en_text": " ", "text": "Ei otsikkoa."},
        pair(4),
    ]
    template = ('Write the text "{title}".',)
    kept, rejected = prepare(tmp_path, rows, title_template=template)
    instructions = [row["instruction"] for row in kept]
    assert instructions[0] == 'Write the text "Goat and {title}".'
    assert instructions[1].startswith('Write the text "A first sentence')
    assert instructions[1].endswith('goes on.".') and len(instructions[1]) < 230
    assert instructions[2] == "Say 4."
    assert [(row["id"], row["reason"]) for row in rejected] == [("p3", "empty")]


def test_parallel_documents_are_asked_for_with_many_verbs(tmp_path):
    rows = [
        {
            "id": f"p{n}",
            "en_text": f"The {n}th lake\nIt is deep",
            "text": f"Järvi {n}",
        }
        for n in range(80)
    ]
    kept, _ = prepare(tmp_path, rows)
    asked = {row["id"]: row["instruction"] for row in kept}
    templates = SeedConfig().title_template
    for number in range(80):
        title = f"The {number}th lake"
        assert asked[f"p{number}"] in {t.replace("{title}", title) for t in templates}
    found = collections.Counter(map(verbs.root_verb, asked.values()))
    assert None not in found
    assert len(found) == len(templates) and max(found.values()) < 0.25 * len(kept)
    # Under another id, and among others, a title asks for the same.
    (tmp_path / "again").mkdir()
    again, _ = prepare(tmp_path / "again", [rows[7] | {"id": "other"}])
    assert again[0]["instruction"] == asked["p7"]


def test_every_title_template_is_an_instruction_that_passes_the_rules():
    for template in SeedConfig().title_template:
        text = template.replace("{title}", "Goat, Dog, and Cow")
        assert rules.check(text, "Vuohi juoksi metsään.", RateConfig()) == ()


@pytest.mark.parametrize("templates", [(), ("Write.",), (3,)])
def test_a_title_template_without_a_title_is_refused(templates):
    with pytest.raises(UserError, match="in each"):
        SeedConfig(title_template=templates)


def test_pairs_that_cannot_be_learnt_from_are_kept_aside(tmp_path):
    rows = [
        pair(1),
        pair(2, input="A passage that the instruction is about."),
        pair(3, input=""),
        pair(1, id="again"),
        pair(1, id="s1", output="Toinen vastaus."),
        pair(5, output=" \n"),
    ]
    kept, rejected = prepare(tmp_path, rows)
    assert [row["id"] for row in kept] == ["s1", "s3", "s1~2"]
    assert {row["id"]: row["reason"] for row in rejected} == {
        "s2": "needs_input",
        "again": "duplicate",
        "s5": "empty",
    }


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    ids=st.lists(st.sampled_from(["x", "x~2", "x~1", "x~2~2", "~2"]), max_size=9)
)
@hypothesis.example(ids=["x", "x", "x~2", "x~2"])
def test_ids_are_different_whatever_files_give(ids, tmp_path_factory):
    rows = [pair(number, id=id) for number, id in enumerate(["x", *ids])]
    kept, _ = prepare(tmp_path_factory.mktemp("ids"), rows)
    assert len({row["id"] for row in kept}) == len(kept) == len(rows)


def test_the_pairs_used_of_too_many_do_not_depend_on_their_order(tmp_path):
    rows = [pair(number) for number in range(60)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    kept, rejected = prepare(tmp_path / "a", rows, max_pairs=20)
    other, _ = prepare(tmp_path / "b", rows[::-1], max_pairs=20)
    assert len(kept) == 20 and len(rejected) == 40
    assert {row["id"] for row in kept} == {row["id"] for row in other}
    numbers = [int(row["id"][1:]) for row in kept]
    assert numbers == sorted(numbers) and numbers[-1] > 30


def test_a_language_without_files_is_noted_and_none_at_all_is_an_error(tmp_path):
    write(tmp_path / "fi.jsonl", [pair(1)])
    languages = {code: BUILT_IN[code] for code in ("fi", "th")}
    config = SeedConfig(path=f"{tmp_path}/{{lang}}.jsonl,{tmp_path}/{{lang}}_*.jsonl")
    counts = seed.run(stage(tmp_path / "out"), config, languages)
    assert counts["th"].notes == {"files": "none"} and counts["th"].rows_out == 0
    assert shards.read_rows(tmp_path / "out" / "th") == []
    with pytest.raises(UserError, match="No seed pairs"):
        seed.run(stage(tmp_path / "none"), config, {"th": BUILT_IN["th"]})
    wrong = SeedConfig(path=f"{tmp_path}/{{lang}}.jsonl", output_field="response")
    with pytest.raises(UserError, match="'instruction' and 'response' or 'en_text'"):
        seed.run(stage(tmp_path / "none"), wrong, FI)
    assert not (tmp_path / "none").exists()


def test_a_second_run_changes_nothing(tmp_path):
    config = SeedConfig(path=f"{SAMPLE}/{{lang}}.jsonl")
    first = seed.run(stage(tmp_path), config, FI)
    times = {f: f.stat().st_mtime_ns for f in shards.each_file(tmp_path)}
    assert seed.run(stage(tmp_path), config, FI) == first
    assert {f: f.stat().st_mtime_ns for f in times} == times


def test_hostile_pairs_are_kept_or_counted_with_a_reason(tmp_path):
    rows = [
        pair(number, id=f"{side}-{name}", **{side: text})
        for number, (name, text) in enumerate(hostile.TEXTS.items())
        for side in ("instruction", "output")
    ]
    kept, rejected = prepare(tmp_path, rows)
    assert {row["id"] for row in (*kept, *rejected)} == {row["id"] for row in rows}
    reasons = {row["id"]: row["reason"] for row in rejected}
    for side in ("instruction", "output"):
        for name in ("empty", "blank", "nulls", "overrides"):
            assert reasons[f"{side}-{name}"] == "empty"
        assert reasons[f"{side}-surrogates"] == "damaged"
        assert reasons[f"{side}-ten_megabytes"] == "too_long"


def test_ten_thousand_identical_pairs_are_one(tmp_path):
    kept, rejected = prepare(tmp_path, [pair(1)] * 10_000)
    assert len(kept) == 1
    assert collections.Counter(r["reason"] for r in rejected) == {"duplicate": 9_999}


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    texts=st.lists(
        st.one_of(
            st.text(max_size=60),
            st.text(st.characters(categories=["Cs", "Cc", "Cf", "So", "Mn"])),
            st.sampled_from([hostile.TEXTS[name][:99] for name in hostile.TEXTS]),
        ),
        max_size=12,
    )
)
def test_any_text_is_a_pair_or_dropped_and_makes_levels(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("any")
    rows = [pair(0), *(pair(n, instruction=t, output=t) for n, t in enumerate(texts))]
    kept, rejected = prepare(path, rows)
    assert len(kept) + len(rejected) == len(rows)
    made = levels.make_levels(levels.good_pairs(kept), seed=0)
    assert {row["pair"] for row in made} == {row["id"] for row in kept}
    for row in made:
        assert row["label"] in ("bad", "fair", "good")
        (row["instruction"] + row["output"]).encode("utf-8")
