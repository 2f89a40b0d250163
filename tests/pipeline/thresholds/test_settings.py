"""Thresholds in gin files: how they are set, what they reach, what is made again."""

import math
import pickle
import unicodedata

import pytest

from tests.pipeline.thresholds.finnish import LINES, MIDDLE, OTHER, TEXT
from tests.pipeline.thresholds.verdicts import document
from xinst_jax import run_file
from xinst_jax.config import (
    CorpusConfig,
    FineWeb2Config,
    PageConfig,
    RulesConfig,
    RunConfig,
)
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN, WORD_LISTS, Language
from xinst_jax.pipeline import stages
from xinst_jax.pipeline.corpus import fineweb2, quality_filters, stage
from xinst_jax.pipeline.corpus.documents import Document
from xinst_jax.pipeline.executors import frames
from xinst_jax.pipeline.executors.executor import by_row
from xinst_jax.pipeline.executors.local import Local


def load(*overrides: str) -> RunConfig:
    return run_file.load("gin/runs/quickstart.gin", list(overrides))


def test_a_gin_file_reaches_the_worker_processes(tmp_path, monkeypatch):
    run = load(
        "PageConfig.line_items=5",
        "FineWeb2Config.max_line_breaks=0.0",
        "fi/FineWeb2Config.max_line_breaks=0.2",
        "CorpusConfig.min_chars=20",
    )
    raw = ((number, Document("a", MIDDLE, "", "")) for number in range(12))
    monkeypatch.setattr(frames, "_PICKLED_ROWS", 1)
    monkeypatch.setattr(frames, "FRAME_ROWS", 1)
    function = by_row(
        stage._rows,
        config=run.corpus,
        language=BUILT_IN["fi"],
        language_number=0,
        checks=(),
    )
    with Local(tmp_path, workers=2) as executor:
        executor.put(raw, "raw")
        made = executor.map("preparing", function, executor.read("raw"))
        assert executor._pool is not None
        found = [row.found.text for row in executor.stream(made)]
    assert found == [MIDDLE] * 12


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("PageConfig.line_items=1", r"PageConfig\.line_items = 1; .* 2 or more"),
        ("PageConfig.line_items=2.5", r"PageConfig\.line_items = 2\.5; .* whole"),
        ("PageConfig.item_chars=True", r"PageConfig\.item_chars = True"),
        ("RulesConfig.gram_share='x'", r"RulesConfig\.gram_share = 'x'"),
        ("TextConfig.max_lost_share=1.5", r"max_lost_share = 1\.5; .* between 0 and 1"),
        ("DuplicatesConfig.bands=300", r"DuplicatesConfig\.bands = 300; .* 1 and 256"),
        ("RulesConfig.quote_chars=None", r"RulesConfig\.quote_chars = None"),
        ("fi/FineWeb2Config.max_top_2_gram=2", r"FineWeb2Config\.max_top_2_gram = 2"),
        ("ff/FineWeb2Config.max_top_2_gram=0.2", r"ff/FineWeb2Config.*: fi, "),
        ("fi/PageConfig.item_chars=3", r"fi/PageConfig"),
        ("PageConfig.item_char=3", r"item_char"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(override, told):
    with pytest.raises(UserError, match=told):
        load(override)


def test_no_number_is_refused_too():
    with pytest.raises(UserError, match=r"RulesConfig\.gram_share = nan"):
        RulesConfig(gram_share=math.nan)


def remade(*overrides: str) -> set[str]:
    """The stages whose own record is another, without the rounds' numbers."""
    records = [
        {one.name: one.config for one in stages.graph(load(*some))}
        for some in ((), overrides)
    ]
    changed = {name for name in records[0] if records[0][name] != records[1][name]}
    return {name.split("/")[0] for name in changed}


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("PageConfig.item_chars=30", {"corpus"}),
        ("PageConfig.item_chars=40", set()),
        ("fi/FineWeb2Config.max_top_2_gram=0.2", {"corpus"}),
        ("SegmentConfig.line_cost=0.1", {"corpus"}),
        ("DuplicatesConfig.bands=20", {"corpus"}),
        ("LanguageCheckConfig.pure_share=0.9", {"corpus"}),
        ("TextConfig.heading_chars=60", {"corpus", "seed", "rater"}),
        ("DecontaminationConfig.gram_words=9", {"corpus", "seed", "candidates"}),
        ("TranslateConfig.min_script_share=0.4", {"seed"}),
        ("SeedConfig.max_title_chars=90", {"seed"}),
        ("RulesConfig.quote_chars=50", {"ratings"}),
    ],
)
def test_a_threshold_makes_the_stages_that_use_it_again(override, names):
    assert remade(override) == names


def test_an_endpoint_makes_the_seed_again_only_where_it_translates():
    given = ("EndpointConfig.url='http://h/v1'", "EndpointConfig.model='m'")
    assert "seed" not in remade(*given)
    translated = (*given, "TranslateConfig.path='en.jsonl'")
    assert "seed" in remade(*translated)
    seeds = [
        {one.name: one.config for one in stages.graph(load(*translated, *more))}["seed"]
        for more in (
            (),
            ("judge/EndpointConfig.model='n'", "EndpointConfig.cost_limit_usd=0.0"),
            ("translator/EndpointConfig.concurrency=2",),
            ("translator/EndpointConfig.model='n'",),
        )
    ]
    assert seeds[0] == seeds[1] == seeds[2] != seeds[3]


def test_a_record_names_the_thresholds_that_are_set_and_no_others():
    corpus = {one.name: one for one in stages.graph(load("PageConfig.item_chars=30"))}
    record = corpus["corpus"].config["corpus"]
    assert record["page"] == {"item_chars": 30}
    assert not {"texts", "fineweb2", "fineweb2_of", "segments"} & set(record)


def test_one_line_sets_a_value_of_fineweb2_for_one_language_or_for_all():
    run = load(
        "fi/FineWeb2Config.max_top_2_gram=0.3", "FineWeb2Config.min_alphabetic=0.5"
    )
    of = {
        code: fineweb2.of(BUILT_IN[code], run.corpus.fineweb2_of_language(code))
        for code in ("fi", "sw")
    }
    published = fineweb2.VALUES
    assert of["fi"].top == {**published["fi"].top, 2: 0.3}
    assert of["sw"].top == published["sw"].top
    assert of["fi"].alphabetic == of["sw"].alphabetic == 0.5
    assert of["fi"].repeated == published["fi"].repeated


def test_what_is_published_is_the_default():
    for code, values in fineweb2.VALUES.items():
        assert fineweb2.of(BUILT_IN[code], FineWeb2Config()) == values


def test_of_a_language_beyond_the_ten_only_what_is_set_is_asked():
    xhosa = Language("xh", "Xhosa", stop_words=("kwaye",))
    assert fineweb2.of(Language("xh", "Xhosa"), FineWeb2Config()) is None
    long = OTHER * 30
    assert quality_filters.find(long, xhosa).reason == "stop_words"
    assert quality_filters.find(f"kwaye {long} kwaye", xhosa) is None
    few = FineWeb2Config(max_word_chars=5.0)
    assert quality_filters.find(OTHER, Language("xh", "Xhosa"), few).reason == (
        "word_length"
    )


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({"max_repeated_line_chars": 0.2}, f"{OTHER}\n{OTHER}", "repeated_line_chars"),
        ({"max_bullet_lines": 0.5}, f"- {OTHER}", "bullet_lines"),
        ({"max_ellipsis_lines": 0.5}, f"{OTHER} ...", "ellipsis_lines"),
        ({"max_symbols_per_word": 0.05}, f"# # # {OTHER}", "symbols"),
    ],
)
def test_one_number_brings_no_other_rule_to_a_language_beyond_the_ten(
    settings, text, reason
):
    xhosa, own = Language("xh", "Xhosa"), FineWeb2Config(**settings)
    assert quality_filters.find(text, xhosa, own).reason == reason
    # One of another rule, with which this one is asked of Finnish.
    other = FineWeb2Config(max_word_chars=50.0)
    assert quality_filters.find(text, xhosa, other) is None
    assert quality_filters.find(text, BUILT_IN["fi"], other) is not None


def described(**words: tuple[str, ...]) -> Language:
    """Finnish, with words beside those built in."""
    return Language("fi", "Finnish", **words)


@pytest.mark.parametrize(
    ("words", "text", "outcome"),
    [
        (
            {"cookie_words": ("ikuki",), "consent_words": ("zakwamkela",)},
            f"Ikuki zakwamkela.\n{TEXT}",
            "199 -notice_line",
        ),
        (
            {"link_words": ("funda",)},
            f"Funda: amabali.\n{TEXT}",
            "199 -read_more_line",
        ),
        (
            {"caption_words": ("umfanekiso",)},
            f"Umfanekiso: indlu.\n{TEXT}",
            "199 -caption_line",
        ),
        ({"connectives": ("kodwa",)}, f"Kodwa {TEXT}", "goes_on"),
    ],
    ids=["notice", "link", "caption", "connective"],
)
def test_a_language_brings_its_own_words(words, text, outcome):
    before = document(text, language=described())
    assert before.of(before.config) == str(len(text))
    after = document(text, language=described(**words))
    assert after.of(after.config) == outcome


def test_a_later_part_does_not_begin_with_a_pronoun_that_a_language_brings():
    text = f"{LINES[2]} {LINES[4]}\n\nYena {LINES[2]} {LINES[4]}"
    lengths = {"target_chars": 100, "max_chars": 160, "quality_filters": False}
    before = document(text, language=described(), **lengths)
    assert before.of(before.config) == "105 110"
    after = document(text, language=described(pronouns=("yena",)), **lengths)
    assert after.of(after.config) != "105 110"


def test_words_of_a_language_are_the_corpus_alone_s():
    given = [
        "RunConfig.languages=('xh',)",
        "RunConfig.extra_languages=[@LanguageConfig()]",
        "LanguageConfig.code='xh'",
        "LanguageConfig.name='Xhosa'",
    ]
    bare, told = (
        {one.name: one.config for one in stages.graph(load(*given, *more))}
        for more in ((), ("LanguageConfig.caption_words=('umfanekiso',)",))
    )
    assert {name for name in bare if bare[name] != told[name]} == {"corpus"}
    assert not set(WORD_LISTS) & set(told["corpus"]["languages"][0])


def test_words_are_found_however_their_letters_are_composed():
    split = unicodedata.normalize("NFD", "äidit")
    assert described(caption_words=(split,)).caption_words == ("äidit",)


def test_words_that_are_no_tuple_are_refused():
    with pytest.raises(UserError, match=r"LanguageConfig\.caption_words of 'xh'"):
        Language("xh", "Xhosa", caption_words="kuva")  # type: ignore[arg-type]


def test_a_corpus_config_can_be_static_and_pickled():
    config = CorpusConfig(
        page=PageConfig(item_chars=3), fineweb2_of=[("fi", FineWeb2Config())]
    )
    assert hash(pickle.loads(pickle.dumps(config))) == hash(config)


@pytest.mark.parametrize("value", [(("fi", 0.3),), ("fi",), 3])
def test_what_is_no_pair_of_a_language_and_its_thresholds_is_refused(value):
    with pytest.raises(UserError, match=r"CorpusConfig\.fineweb2_of = "):
        CorpusConfig(fineweb2_of=value)
