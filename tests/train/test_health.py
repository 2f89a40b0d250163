import jax
import numpy as np
import pytest

from xinst_jax.train import health

NAN, INF = float("nan"), float("inf")


def judged(losses, ratio, norms=None):
    """(bad, limit) of each step, and what is known at the end."""
    judge = jax.jit(health.judge, static_argnums=4)
    known, found = health.begin(), []
    for step, loss in enumerate(losses):
        norm = np.float32(norms[step] if norms else 1.0)
        bad, limit, known = judge(known, np.int32(step), np.float32(loss), norm, ratio)
        found.append((bool(bad), float(limit)))
    return found, known


@pytest.mark.parametrize("ratio", [0.0, 3.0])
def test_a_loss_or_a_gradient_that_is_no_number_is_bad_from_the_first_step(ratio):
    found, known = judged(
        [NAN, INF, 2.0, 2.0, 2.0], ratio, norms=[1.0, 1.0, NAN, INF, 1.0]
    )
    assert [bad for bad, _ in found] == [True, True, True, True, False]
    assert known.bad_steps == 4
    assert np.asarray(known.losses_w)[0] == 2.0
    assert np.isnan(np.asarray(known.losses_w)[1:]).all()


def test_the_limit_is_a_multiple_of_the_median_of_the_last_good_steps():
    rng = np.random.default_rng(0)
    losses = rng.uniform(2, 6, 200)
    losses[[40, 41, 120]] = 30, NAN, 1e9
    found, known = judged(losses, 3.0)
    good = []
    for step, (bad, limit) in enumerate(found):
        window = np.float32(good[-health.WINDOW :])
        expected = 3 * np.median(window) if len(good) >= health.FEWEST else INF
        np.testing.assert_allclose(limit, expected, rtol=1e-6)
        assert bad == (step in (40, 41, 120))
        if not bad:
            good.append(losses[step])
    assert known.bad_steps == 3


def test_a_median_near_nothing_counts_as_one_nat():
    losses = [0.01] * 30 + [2.9, 3.1]
    found, _ = judged(losses, 3.0)
    assert [bad for bad, _ in found] == [False] * 31 + [True]


def test_without_a_ratio_no_finite_loss_is_bad():
    found, _ = judged([1.0] * 40 + [1e30], 0.0)
    assert not any(bad for bad, _ in found)
