"""What each selection draws, against brute force; the cap on verbs."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinst_jax.config import DiversifyConfig
from xinst_jax.config.curation import SELECTIONS as NAMES
from xinst_jax.errors import UserError
from xinst_jax.pipeline.diversity import greedy, verb_cap
from xinst_jax.pipeline.diversity.draw import draw, even_weights
from xinst_jax.pipeline.diversity.selection import SELECTIONS, Pool


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def vectors(count: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


def pool(sizes: list[int], per_cluster: int, seed: int = 0, **changes) -> Pool:
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    members = np.split(np.arange(count), np.cumsum(sizes)[:-1])
    made = Pool(
        members,
        vectors(count, seed=seed),
        rng.uniform(size=count),
        rng.normal(size=count),
        per_cluster,
        0.5,
    )
    return Pool(**(vars(made) | changes))


def by_cluster(drawn: np.ndarray, sizes: list[int]) -> list[int]:
    cluster_n = np.repeat(np.arange(len(sizes)), sizes)
    return np.bincount(cluster_n[drawn], minlength=len(sizes)).tolist()


def test_every_name_of_the_configuration_is_a_selection():
    assert tuple(SELECTIONS) == NAMES
    with pytest.raises(UserError, match="selection = 'best'; expected one of equal"):
        DiversifyConfig(selection="best")


@pytest.mark.parametrize("name", ["equal", "k_center", "determinantal"])
def test_the_same_number_comes_from_every_cluster_or_all_it_has(name):
    sizes = [40, 9, 3, 0]
    drawn = SELECTIONS[name](pool(sizes, 8))
    assert by_cluster(drawn, sizes) == [8, 8, 3, 0]
    assert len(set(drawn.tolist())) == len(drawn)


def test_proportional_keeps_the_sizes_shares():
    sizes = [60, 30, 10]
    drawn = SELECTIONS["proportional"](pool(sizes, 10))
    assert by_cluster(drawn, sizes) == [18, 9, 3]


def test_weights_leave_nothing_out():
    assert sorted(SELECTIONS["weights"](pool([4, 2], 1)).tolist()) == list(range(6))


def test_k_center_is_within_twice_of_the_best_radius():
    for seed in range(20):
        points_me = vectors(12, 3, seed)
        apart_mm = np.linalg.norm(points_me[:, None] - points_me[None], axis=2)
        best = min(
            apart_mm[:, list(some)].min(axis=1).max()
            for some in itertools.combinations(range(12), 4)
        )
        chosen = greedy.k_center(points_me, 0, 4)
        assert len(set(chosen.tolist())) == 4
        assert apart_mm[:, chosen].min(axis=1).max() <= 2 * best + 1e-6


def brute_force_greedy(kernel_mm: np.ndarray, count: int) -> list[int]:
    """Each time the row with the largest log determinant, computed from nothing."""
    chosen: list[int] = []
    for _ in range(count):
        found = {
            row: np.linalg.slogdet(kernel_mm[np.ix_([*chosen, row], [*chosen, row])])[1]
            for row in range(len(kernel_mm))
            if row not in chosen
        }
        chosen.append(max(found, key=lambda row: found[row]))
    return chosen


def test_determinantal_is_the_greedy_maximum_of_log_determinants():
    points_me = vectors(25, 8).astype(np.float64)
    log_quality_m = np.random.default_rng(1).normal(size=25)
    quality_m = np.exp(log_quality_m)
    kernel_mm = quality_m[:, None] * (points_me @ points_me.T) * quality_m
    chosen, gains = greedy.determinantal(points_me, log_quality_m, 6)
    assert chosen.tolist() == brute_force_greedy(kernel_mm, 6)
    _, whole = np.linalg.slogdet(kernel_mm[np.ix_(chosen, chosen)])
    assert gains.sum() == pytest.approx(whole, rel=1e-6)
    assert (np.diff(gains) <= 1e-9).all()


def test_determinantal_ends_where_the_chosen_span_the_rest():
    points_me = vectors(9, 3)
    chosen, _ = greedy.determinantal(points_me, np.zeros(9), 9)
    assert len(chosen) == 3
    assert len(SELECTIONS["determinantal"](pool([20], 15))) == 15


def test_joint_is_the_greedy_maximum_over_all_clusters():
    made = pool([10, 7, 5], 4, quality=0.7)
    cluster_n = np.repeat([0, 1, 2], [10, 7, 5])
    quality_n = np.exp(0.7 / 0.6 * made.score_n)
    points_ne = made.vectors_ne.astype(np.float64)
    kernel_nn = quality_n[:, None] * (points_ne @ points_ne.T) * quality_n
    kernel_nn = np.where(cluster_n[:, None] == cluster_n, kernel_nn, 0.0)
    drawn = SELECTIONS["joint"](made)
    assert drawn.tolist() == brute_force_greedy(kernel_nn, 12)


def test_joint_prefers_score_the_more_the_higher_quality_is():
    mean = [
        (made := pool([30, 30], 5, quality=quality))
        .score_n[SELECTIONS["joint"](made)]
        .mean()
        for quality in (0.0, 0.5, 0.95)
    ]
    assert mean[0] < mean[1] < mean[2]


def verbs_of(counts: dict[str | None, int]) -> list[str | None]:
    return [verb for verb, count in counts.items() for _ in range(count)]


def test_no_verb_has_more_than_its_share_and_others_take_its_place():
    verb_n = verbs_of({"write": 60, None: 10, **{f"verb {n}": 3 for n in range(10)}})
    order = np.random.default_rng(0).permutation(100)
    verb_n = [verb_n[place] for place in order]
    drawn_n, gave_way_n = verb_cap.draw(
        pool([50, 50], 20), SELECTIONS["equal"], verb_n, 0.15
    )
    drawn = collections.Counter(verb_n[row] for row in np.flatnonzero(drawn_n))
    assert drawn["write"] == 6
    assert max(count for verb, count in drawn.items() if verb) <= 0.15 * drawn_n.sum()
    assert drawn_n.sum() == 40
    assert gave_way_n.any() and not (gave_way_n & drawn_n).any()
    assert {verb_n[row] for row in np.flatnonzero(gave_way_n)} == {"write"}


def test_the_best_of_a_verb_stay():
    made = pool([30], 30)
    verb_n = verbs_of({"write": 20, **{f"verb {n}": 1 for n in range(10)}})
    drawn_n, _ = verb_cap.draw(made, SELECTIONS["equal"], verb_n, 0.2)
    stayed = np.flatnonzero(drawn_n[:20])
    assert len(stayed) == 2
    assert set(stayed) == set(np.argsort(made.priority_n[:20])[-2:])


def test_verbs_too_few_for_the_share_get_equal_parts():
    verb_n = verbs_of({"write": 20, "tell": 5})
    drawn_n, _ = verb_cap.draw(pool([25], 25), SELECTIONS["equal"], verb_n, 0.15)
    assert collections.Counter(np.array(verb_n)[drawn_n]) == {"write": 5, "tell": 5}
    one_n, _ = verb_cap.draw(pool([9], 9), SELECTIONS["equal"], ["write"] * 9, 0.15)
    assert one_n.all()


def test_a_share_of_one_caps_nothing():
    verb_n = verbs_of({"write": 20, "tell": 5})
    drawn_n, gave_way_n = verb_cap.draw(pool([25], 25), SELECTIONS["equal"], verb_n, 1)
    assert drawn_n.all() and not gave_way_n.any()


def test_weights_are_capped_by_verb():
    verb_n = verbs_of({"write": 1, "a": 1, "b": 1, "c": 1, "d": 1})
    found_n = verb_cap.capped_weights(np.array([6.0, 1, 1, 1, 1]), verb_n, 0.4)
    np.testing.assert_allclose(found_n, [4, 1.5, 1.5, 1.5, 1.5], rtol=1e-6)
    plain_n = np.array([1.0, 1, 0, 1, 1])
    assert verb_cap.capped_weights(plain_n, verb_n, 0.4) is plain_n
    # Of a weight so small that dividing by it has no result.
    found_n = verb_cap.capped_weights(np.array([1.0, 2e-313, 0]), ["a", "b", "b"], 0.5)
    np.testing.assert_allclose(found_n, [0.5, 0.5, 0])


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from(["write", "tell", "give", "list", None]), max_size=30),
    st.lists(st.floats(0, 20), min_size=30, max_size=30),
    st.floats(0.05, 1),
)
def test_capped_weights_keep_their_sum_and_no_verb_exceeds_its_share(
    verb_n, weights, share
):
    weight_n = np.array(weights[: len(verb_n)])
    found_n = verb_cap.capped_weights(weight_n, verb_n, share)
    total = weight_n.sum()
    np.testing.assert_allclose(found_n.sum(), total, rtol=1e-5, atol=1e-6)
    drawn = [verb_n[row] for row in np.flatnonzero(weight_n > 0)]
    share = verb_cap.feasible(share, drawn)
    for verb in set(drawn) - {None}:
        own = sum(w for w, one in zip(found_n, verb_n, strict=True) if one == verb)
        assert own <= share * total * (1 + 1e-4) + 1e-6


def test_weights_in_proportion_to_score_within_even_clusters():
    found_n = even_weights(
        np.array([0, 0, 0, 1]), np.ones(4, bool), np.array([1.0, 1, 2, 1])
    )
    np.testing.assert_allclose(found_n, [0.5, 0.5, 1, 2], rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(NAMES),
    st.integers(0, 40),
    st.sampled_from(["same", "zero", "one", "random"]),
    st.sampled_from(["same", "few", "random"]),
    st.floats(0.05, 1),
)
def test_any_language_is_drawn_from(name, count, scores, directions, share):
    """Equal scores, identical vectors, one row, none: counted, and no error."""
    rng = np.random.default_rng(count)
    points_ne = {
        "same": np.repeat(vectors(1), count, axis=0),
        "few": vectors(3)[rng.integers(0, 3, count)],
        "random": vectors(max(1, count))[:count],
    }[directions]
    score = {"same": 0.5, "zero": 0.0, "one": 1.0}.get(scores)
    rows = [
        {"id": str(n), "score": rng.uniform() if score is None else score}
        for n in range(count)
    ]
    cluster_n = np.sort(rng.integers(0, 4, count))
    cluster_n = np.unique(cluster_n, return_inverse=True)[1].reshape(-1)
    verb_n = [("write", "tell", None)[n % 3] for n in range(count)]
    config = DiversifyConfig(selection=name, per_cluster=3, verb_share=share)
    found = draw(rows, points_ne, cluster_n, verb_n, config, "seed")
    assert found.selected_n.any() == bool(count)
    states = found.duplicate_n.astype(int) + found.over_n + found.selected_n
    assert (states <= 1).all()
    assert ((found.weight_n > 0) == found.selected_n).all()
    if count:
        assert found.weight_n[found.selected_n].mean() == pytest.approx(1, rel=1e-4)
