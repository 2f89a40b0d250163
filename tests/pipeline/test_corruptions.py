"""Each corruption does to a pair what its name says, and nothing else."""

import unicodedata

import numpy as np
import pytest

from xinst_jax.config import RateConfig, TextConfig
from xinst_jax.pipeline import corruption_texts, corruptions, pair_pool, rules
from xinst_jax.pipeline.pair_pool import Pair, Pool

_FINNISH = (
    "Järvet syntyivät jääkauden jälkeen, kun mannerjää suli. Vesi jäi kallion koloihin "
    "ja harjujen väliin. Siksi Suomessa on enemmän järviä kuin missään muualla."
)
_TAMIL = (
    "தேநீர் என்பது உலகில் அதிகம் அருந்தப்படும் பானங்களில் ஒன்று. அது இலைகளிலிருந்து "
    "தயாரிக்கப்படுகிறது, காலையில் பலர் அதை விரும்பி அருந்துகிறார்கள்."
)
_THAI = "ประเทศไทยมีอาหารหลากหลายชนิดที่คนทั่วโลกรู้จักและชื่นชอบเพราะรสชาติเข้มข้น" * 2


def _pair(number: int, lang: str, instruction: str, output: str) -> Pair:
    return Pair(f"{lang}-{number}", lang, instruction, output, "train")


_PAIRS = [
    _pair(0, "fi", "Why are there so very many lakes in Finland?", _FINNISH),
    _pair(1, "fi", "Which lakes in Finland are the deepest of all?", _FINNISH[:130]),
    _pair(2, "fi", "Write a polite email about it to my manager.", "Hei, pyydän. " * 8),
    _pair(3, "ta", "Describe how tea is prepared at home and out.", _TAMIL),
    _pair(4, "th", "Explain the taste of food sold in Bangkok.", _THAI),
]


def _pool(pairs=_PAIRS, held_out=False, boilerplate=None) -> Pool:
    features_pe = pair_pool.ngram_features([pair.instruction for pair in pairs])
    nearness = pair_pool.NGRAM_NEARNESS
    return Pool(pairs, features_pe, nearness, boilerplate or {}, held_out)


def _apply(name: str, index: int, pool: Pool | None = None, draw: int = 0):
    registry = corruptions.BAD | corruptions.FAIR
    rng = pair_pool.generator(0, name, str(draw))
    return registry[name](index, pool or _pool(), rng)


def _letters(text: str, low: int, high: int) -> float:
    letters = [character for character in text if character.isalpha()]
    return sum(low <= ord(character) <= high for character in letters) / len(letters)


def test_random_instruction_is_another_unrelated_one_with_the_same_response():
    for draw in range(20):
        instruction, output = _apply("random_instruction", 0, draw=draw)
        assert output == _FINNISH
        assert instruction == _PAIRS[2].instruction  # of the language, and unrelated


def test_random_instruction_comes_from_another_language_if_it_must():
    instruction, _ = _apply("random_instruction", 3)
    assert instruction in {pair.instruction for pair in _PAIRS if pair.lang != "ta"}


def test_neighbour_instruction_is_the_related_one():
    instruction, output = _apply("neighbour_instruction", 0)
    assert (instruction, output) == (_PAIRS[1].instruction, _FINNISH)
    assert _apply("neighbour_instruction", 2) is None


def test_the_same_question_is_no_neighbour_and_not_unrelated():
    twice = [_PAIRS[0], _pair(9, "fi", "Why has Finland so many lakes?", "Koska.")]
    assert _apply("neighbour_instruction", 0, _pool(twice)) is None
    assert _apply("random_instruction", 0, _pool(twice)) is None


def test_what_is_longer_or_shorter_is_not_put_in():
    odd = [
        _PAIRS[0],
        _pair(9, "fi", "Fry an egg.", "Voi."),
        _pair(8, "ta", "Go?", "ஆ."),
    ]
    for name in ("random_instruction", "neighbour_instruction", "wrong_language"):
        assert _apply(name, 0, _pool(odd)) is None


def test_wrong_language_is_a_response_of_another_language():
    for draw in range(10):
        instruction, output = _apply("wrong_language", 0, draw=draw)
        assert instruction == _PAIRS[0].instruction
        assert output and (_TAMIL.startswith(output) or _THAI.startswith(output))


def test_the_beginning_of_a_response_ends_where_the_run_says_that_sentences_end():
    start = "Hän on kylän uusi opettaja ja Prof."
    pairs = [
        _pair(0, "ta", "Describe how tea is prepared at home.", _TAMIL[: len(start)]),
        _pair(1, "fi", "Why are there lakes in Finland?", start + " Maija ja" * 20),
    ]
    features_pe = pair_pool.ngram_features([pair.instruction for pair in pairs])
    made = {}
    for letters in (4, 3):
        pool = Pool(
            *(pairs, features_pe, pair_pool.NGRAM_NEARNESS, {}, False),
            texts=TextConfig(abbreviation_letters=letters),
        )
        made[letters] = _apply("wrong_language", 0, pool)
    assert made == {4: None, 3: (pairs[0].instruction, start)}


def test_wrong_language_needs_no_second_language():
    pool = _pool([_pair(0, "fi", "Why is the sky blue?", _FINNISH * 4)])
    known = {s for group in corruption_texts.FOREIGN_SENTENCES.values() for s in group}
    for draw in range(10):
        _, output = _apply("wrong_language", 0, pool, draw)
        assert any(sentence in output for sentence in known)
        assert abs(len(output) / len(_FINNISH * 4) - 1) <= 0.06


def test_boilerplate_is_made_of_the_responses_words_in_short_lines():
    _, output = _apply("boilerplate_response", 0)
    words = {word.casefold() for word in _FINNISH.replace(".", "").split()}
    pieces = [p for line in output.splitlines() for p in line.replace("|", " ").split()]
    assert len(output.splitlines()) > 5
    assert all(any(p.casefold() in word for word in words) for p in pieces)


@pytest.mark.parametrize("index", [3, 4], ids=["tamil", "thai"])
def test_boilerplate_of_unspaced_and_marked_scripts_has_short_lines_too(index: int):
    _, output = _apply("boilerplate_response", index)
    assert max(len(line) for line in output.splitlines()) < 120
    assert len(output.splitlines()) > 3


def test_boilerplate_uses_the_rejected_texts_of_the_language():
    menus = [f"Etusivu {n}\nYhteystiedot {n}\nHaku {n}" for n in range(40)]
    seen = {}
    for held_out in (False, True):
        pool = _pool(held_out=held_out, boilerplate={"fi": menus})
        lines = [_apply("boilerplate_response", 0, pool, n)[1] for n in range(30)]
        seen[held_out] = {line for text in lines for line in text.splitlines()}
        assert seen[held_out] <= {line for menu in menus for line in menu.splitlines()}
    assert not seen[False] & seen[True]


def test_echo_is_english_and_begins_with_the_instruction():
    pairs = [*_PAIRS, _pair(9, "ta", "Where does tea come from?", _TAMIL * 4)]
    instruction, output = _apply("instruction_echo", 5, _pool(pairs))
    assert output.startswith(instruction)
    assert _letters(output, 0x41, 0x7A) == 1


def _with_rest(lang: str, text: str, ends: int) -> Pool:
    pair = Pair("1", lang, "Say something.", text[:ends], "train", text[ends:])
    return _pool([pair])


def test_cut_response_breaks_off_as_far_as_the_whole_one_goes():
    lengths = {}
    for lang, text in (("fi", _FINNISH), ("ta", _TAMIL * 2), ("th", _THAI)):
        ends = text.index(".", 80) + 1 if "." in text else 76
        made = [
            _apply("cut_response", 0, _with_rest(lang, text, ends), draw)
            for draw in range(30)
        ]
        found = [output for _, output in filter(None, made)]
        assert len(found) > 15
        for output in found:
            assert text.startswith(output) and output != text[:ends]
            assert output[-1] not in ".!?, \n"
            assert abs(len(output) / ends - 1) < 0.1
        lengths[lang] = np.array([len(output) - ends for output in found])
    together = np.concatenate(list(lengths.values()))
    assert (together > 0).any() and (together < 0).any()


def test_cut_response_does_not_split_a_character():
    for draw in range(50):
        made = _apply("cut_response", 0, _with_rest("th", _THAI, 76), draw)
        if made is not None:
            assert unicodedata.category(_THAI[len(made[1])])[0] != "M"


def test_a_response_that_nothing_followed_is_not_cut():
    assert _apply("cut_response", 0) is None


def test_short_responses_are_not_cut():
    assert _apply("cut_response", 0, _with_rest("fi", "Hei! Mitä kuuluu?", 4)) is None


def test_generic_and_missing_input_keep_the_response():
    for name in ("generic_instruction", "missing_input"):
        instruction, output = _apply(name, 0)
        assert output == _FINNISH
        assert instruction != _PAIRS[0].instruction


def test_the_rules_catch_every_missing_input_and_no_generic_instruction():
    config = RateConfig()
    for text in corruption_texts.MISSING_INPUT_INSTRUCTIONS:
        assert rules.check(text, _FINNISH, config) == ("refers_to_missing_text",)
    for text in corruption_texts.GENERIC_INSTRUCTIONS:
        assert rules.check(text, _FINNISH, config) == ()


def test_an_over_specific_instruction_begins_as_the_own_and_then_demands_more():
    demands = corruption_texts.OVER_SPECIFIC_DEMANDS
    long = _pair(
        5,
        "fi",
        "How is good bread baked at home by hand in a wood oven for a large family?",
        _FINNISH,
    )
    pool = _pool([*_PAIRS, long])
    for index in range(len(pool.pairs)):
        own = pool.pairs[index].instruction
        for draw in range(10):
            made = _apply("over_specific_instruction", index, pool, draw)
            if made is None:
                continue
            text, output = made
            demand = next(demand for demand in demands if demand in text)
            assert output == pool.pairs[index].output
            assert own.startswith(text.removesuffix(f", {demand}{own[-1]}"))
            assert abs(len(text) / len(own) - 1) <= 0.06
            assert rules.check(text, _FINNISH, RateConfig()) == ()
    made = [_apply("over_specific_instruction", 5, pool, draw) for draw in range(10)]
    assert None not in made and len(set(made)) > 1


def test_a_short_instruction_is_not_made_over_specific():
    pool = _pool([_pair(0, "fi", "Say hello.", _FINNISH)])
    assert _apply("over_specific_instruction", 0, pool) is None


def test_the_rules_leave_every_over_specific_demand_to_the_rater():
    for demand in corruption_texts.OVER_SPECIFIC_DEMANDS:
        text = f"Explain how bread is baked at home, {demand}."
        assert rules.check(text, _FINNISH, RateConfig()) == ()


def test_registries_are_divided_between_the_splits():
    registries = (
        corruption_texts.GENERIC_INSTRUCTIONS,
        corruption_texts.MISSING_INPUT_INSTRUCTIONS,
        corruption_texts.OVER_SPECIFIC_DEMANDS,
        corruption_texts.STYLE_WISHES,
        *corruption_texts.FOREIGN_SENTENCES.values(),
    )
    for registry in registries:
        train = pair_pool.part(registry, held_out=False)
        held_out = pair_pool.part(registry, held_out=True)
        assert train and held_out
        assert sorted(train + held_out) == sorted(registry)
        assert len(set(registry)) == len(registry)


def test_what_is_put_in_has_the_length_of_what_it_replaces():
    for lang, text in (("fi", _FINNISH), ("ta", _TAMIL), ("th", _THAI)):
        pairs = [*_PAIRS, _pair(7, lang, "How high is the tallest tower?", text * 3)]
        for name in ("boilerplate_response", "instruction_echo"):
            _, output = _apply(name, len(pairs) - 1, _pool(pairs))
            assert abs(len(output) / len(text * 3) - 1) <= 0.06
    long = _pair(8, "fi", "Explain in detail how ships are built " * 6, _FINNISH)
    for name in ("generic_instruction", "missing_input"):
        instruction, _ = _apply(name, 0, _pool([long]))
        assert abs(len(instruction) / len(long.instruction) - 1) <= 0.06


def test_generator_depends_on_its_names_alone():
    first = pair_pool.generator(1, "a", "b").integers(1 << 60, size=4)
    again = pair_pool.generator(1, "a", "b").integers(1 << 60, size=4)
    np.testing.assert_array_equal(first, again)
    for other in (("ab",), ("a", "c"), ("b", "a")):
        assert not np.array_equal(
            first, pair_pool.generator(1, *other).integers(1 << 60, size=4)
        )
    assert not np.array_equal(
        first, pair_pool.generator(2, "a", "b").integers(1 << 60, size=4)
    )


def test_features_are_unit_rows_and_tell_same_from_other():
    texts = [
        "Explain what compound interest is and give a small example.",
        "Explain compound interest to a teenager with an example in numbers.",
        "Describe how to fry fish.",
        "",
        "???",
    ]
    features_te = pair_pool.ngram_features(texts)
    assert features_te.dtype == np.float32
    lengths = np.linalg.norm(features_te, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    assert features_te[0] @ features_te[1] > pair_pool.NGRAM_NEARNESS.same
    assert features_te[0] @ features_te[2] < pair_pool.NGRAM_NEARNESS.unrelated
