import pytest

from xinst_jax.report import variety

BEFORE = ["Write a poem."] * 8 + ["Describe a river.", "Explain the law."]


def test_pairs_drawn_for_variety_are_more_distinct_than_by_chance():
    found = variety.variety(BEFORE, ["Write a poem.", *BEFORE[-2:]])
    assert (found.before, found.after) == (10, 3)
    assert (found.distinct_before, found.distinct_after) == (3, 3)
    # Three of ten drawn by chance: one pair, and each of the two others with 3 / 10.
    assert 1 <= found.distinct_random < 3
    assert found.counts[("write", "poem")] == 1


def test_the_chance_figure_is_the_mean_over_draws_and_repeats():
    after = BEFORE[:2]
    found = variety.variety(BEFORE, after)
    assert found == variety.variety(BEFORE, after)
    assert found.distinct_random * 20 == pytest.approx(
        round(found.distinct_random * 20)
    )


def test_no_instructions_have_no_variety():
    assert variety.variety(BEFORE, []) is None
    assert variety.variety([], ["Write a poem."]).distinct_random == 0
