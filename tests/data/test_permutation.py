import numpy as np
import pytest

from xinst_jax.data.permutation import permute

SIZES = [*range(1, 70), 255, 256, 257, 1000, 4097, 65536, 100_003]


@pytest.mark.parametrize("n", SIZES)
def test_every_index_is_hit_once(n):
    image = permute(np.arange(n), n, 7, 0)
    np.testing.assert_array_equal(np.sort(image), np.arange(n))


def test_a_part_of_the_indices_is_sent_where_the_whole_sends_it():
    whole = permute(np.arange(1000), 1000, 3, 1)
    chosen = np.array([[5, 999], [0, 5]])
    np.testing.assert_array_equal(permute(chosen, 1000, 3, 1), whole[chosen])


def test_seed_and_epoch_each_change_the_order():
    orders = {
        tuple(permute(np.arange(100), 100, seed, epoch).tolist())
        for seed in (0, 1, 2, -1, 1 << 40)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_each_place_is_equally_likely():
    keys, n = 4000, 10
    images = np.stack([permute(np.arange(n), n, key, 0) for key in range(keys)])
    counts = np.stack([np.bincount(column, minlength=n) for column in images.T])
    chi_square = ((counts - keys / n) ** 2 / (keys / n)).sum()
    # 81 degrees of freedom: mean 81, standard deviation 12.7
    assert chi_square < 81 + 5 * 12.7


def test_neighbours_are_not_kept_together():
    image = permute(np.arange(10_000), 10_000, 0, 0)
    correlation = np.corrcoef(image[:-1], image[1:])[0, 1]
    assert abs(correlation) < 0.05


def test_an_index_outside_the_domain_is_an_error():
    with pytest.raises(ValueError, match="outside"):
        permute(np.array([5]), 5, 0)
