"""The figures of diversity against scipy, scikit-learn and their definitions."""

import numpy as np
import pytest
import scipy.stats
import sklearn.neighbors

from xinst_jax.pipeline.diversity import figures


def vectors(count: int, width: int, seed: int = 0) -> np.ndarray:
    array = np.random.default_rng(seed).normal(size=(count, width))
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def test_entropy_is_scipys_over_its_maximum():
    cluster_n = np.array([0, 0, 0, 1, 3, 3])
    expected = scipy.stats.entropy([3, 1, 0, 2]) / np.log(4)
    assert figures.cluster_entropy(cluster_n, 4, np.ones(6)) == pytest.approx(expected)
    even = figures.cluster_entropy(np.arange(5), 5, np.ones(5))
    assert even == pytest.approx(1)
    weight_n = np.array([1, 1, 1, 3, 1.5, 1.5])
    weighted = figures.cluster_entropy(cluster_n, 3 + 1, weight_n)
    assert weighted == pytest.approx(np.log(3) / np.log(4))


@pytest.mark.parametrize("limits", [(2000, 1 << 24), (2000, 300), (60, 1 << 24)])
def test_nearest_distance_is_scikit_learns(limits, monkeypatch):
    probes, held = limits
    monkeypatch.setattr(figures, "_PROBES", probes)
    monkeypatch.setattr(figures, "_COSINES", held)
    points_ne = vectors(150, 7)
    found = sklearn.neighbors.NearestNeighbors(n_neighbors=2, metric="cosine")
    distance_n = found.fit(points_ne).kneighbors(points_ne)[0][:, 1]
    rows = np.linspace(0, 149, min(150, probes)).astype(int)
    expected = distance_n[rows].mean()
    assert figures.nearest_distance(points_ne) == pytest.approx(expected, abs=1e-6)


def test_the_vendi_score_is_that_of_the_matrix_of_cosines():
    points_ne = vectors(40, 6).astype(np.float64)
    weight_n = np.random.default_rng(1).uniform(0.5, 2, 40)
    for weights_n in (np.ones(40), weight_n):
        share_n = weights_n / weights_n.sum()
        root_n = np.sqrt(share_n)
        kernel_nn = root_n[:, None] * (points_ne @ points_ne.T) * root_n
        value_n = np.linalg.eigvalsh(kernel_nn)
        expected = np.exp(scipy.stats.entropy(value_n.clip(0)))
        found = figures.vendi_score(points_ne, weights_n)
        assert found == pytest.approx(expected, rel=1e-6)


def test_the_vendi_score_counts_orthogonal_and_equal_instructions():
    assert figures.vendi_score(np.eye(5), np.ones(5)) == pytest.approx(5)
    same = np.repeat(np.eye(5)[:1], 9, axis=0)
    assert figures.vendi_score(same, np.ones(9)) == pytest.approx(1)
    two = np.repeat(np.eye(5)[:2], 9, axis=0)
    assert figures.vendi_score(two, np.ones(18)) == pytest.approx(2)


def test_the_top_verb_and_its_share_of_all_rows():
    verbs = ["tell", "write", None, "write", "tell"]
    assert figures.top_verb(verbs, np.ones(5)) == ("tell", 0.4)
    assert figures.top_verb(verbs, np.array([1.0, 3, 1, 1, 1])) == ("write", 4 / 7)
    assert figures.top_verb([None], np.ones(1)) == (None, None)


def test_an_even_draw_is_told_from_a_random_one():
    """Ten clusters, one with most of the rows; the draw takes five of each."""
    cluster_n = np.repeat(np.arange(10), [400] + [20] * 9)
    rng = np.random.default_rng(0)
    points_ne = np.eye(10)[cluster_n] + 0.1 * rng.normal(size=(580, 10))
    points_ne /= np.linalg.norm(points_ne, axis=1, keepdims=True)
    weight_n = np.zeros(580)
    for cluster in range(10):
        weight_n[np.flatnonzero(cluster_n == cluster)[:5]] = 1
    verbs = ["write"] * 580
    found = figures.compared(points_ne, cluster_n, verbs, weight_n, False, (0, 1))
    assert found["drawn"]["rows"] == 50 and found["kept"]["rows"] == 580
    assert [one["rows"] for one in found["random"]] == [50] * figures.SAMPLES
    assert found["drawn"]["cluster_entropy"] == pytest.approx(1)
    for other in (*found["random"], found["kept"]):
        assert other["cluster_entropy"] < 0.8
        assert other["vendi_score"] < found["drawn"]["vendi_score"]
    assert len({one["vendi_score"] for one in found["random"]}) > 1
    again = figures.compared(points_ne, cluster_n, verbs, weight_n, False, (0, 1))
    assert again == found


@pytest.mark.parametrize("count", [0, 1])
def test_figures_that_are_not_defined_are_none(count):
    found = figures.compared(
        vectors(count, 4),
        np.zeros(count, int),
        [None] * count,
        np.ones(count),
        False,
        (0,),
    )
    for part in (found["drawn"], *found["random"], found["kept"]):
        assert part["rows"] == count
        assert part["cluster_entropy"] is None and part["nearest_distance"] is None
        assert part["top_verb"] is None
        assert (part["vendi_score"] is None) == (count == 0)
