import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinst_jax.data import examples

BOS, EOS = 1, 2


def test_weights_are_on_the_response_and_its_end_alone():
    made = examples.example([11, 12], [21, 22], BOS, EOS, 8)
    np.testing.assert_array_equal(made.tokens_t, [1, 11, 12, 21, 22])
    np.testing.assert_array_equal(made.targets_t, [11, 12, 21, 22, 2])
    np.testing.assert_array_equal(made.loss_weights_t, [0, 0, 1, 1, 1])
    assert made.cut == 0
    assert made.tokens_t.dtype == made.targets_t.dtype == np.int32
    assert made.loss_weights_t.dtype == np.float32


def test_a_response_that_does_not_fit_is_cut_at_its_end_without_an_end_token():
    made = examples.example([11, 12], [21, 22], BOS, EOS, 3)
    np.testing.assert_array_equal(made.tokens_t, [1, 11, 12])
    np.testing.assert_array_equal(made.targets_t, [11, 12, 21])
    np.testing.assert_array_equal(made.loss_weights_t, [0, 0, 1])
    assert made.cut == 2


def test_an_empty_prompt_is_language_modelling_of_the_whole_text():
    made = examples.example([], [21, 22], BOS, EOS, 8)
    np.testing.assert_array_equal(made.targets_t, [21, 22, 2])
    np.testing.assert_array_equal(made.loss_weights_t, [1, 1, 1])
    bare = examples.example([], [21, 22], None, EOS, 8)
    np.testing.assert_array_equal(bare.tokens_t, [21, 22])
    np.testing.assert_array_equal(bare.loss_weights_t, [1, 1])


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [([11], [], "empty response"), ([11] * 8, [21], "prompt too long")],
)
def test_a_pair_without_a_target_is_refused(prompt, response, reason):
    with pytest.raises(examples.RefusedExample, match=reason):
        examples.example(prompt, response, BOS, EOS, 8)


@given(
    prompt=st.lists(st.integers(0, 9), max_size=12),
    response=st.lists(st.integers(0, 9), max_size=12),
    bos=st.sampled_from([None, 0, BOS]),
    length=st.integers(1, 16),
)
def test_every_example_fits_shifts_by_one_and_has_a_target(
    prompt, response, bos, length
):
    try:
        made = examples.example(prompt, response, bos, EOS, length)
    except examples.RefusedExample:
        assert not response or len(prompt) + (bos is not None) > length
        return
    whole = [*([] if bos is None else [bos]), *prompt, *response, EOS]
    size = made.tokens_t.size
    assert 1 <= size <= length
    assert made.tokens_t.tolist() == whole[:size]
    assert made.targets_t.tolist() == whole[1 : size + 1]
    assert made.cut == len(whole) - size - 1
    learnt = made.targets_t[made.loss_weights_t > 0].tolist()
    expected = ([*response, EOS])[: len(response) + 1 - made.cut]
    assert learnt == (expected if len(whole) > len(response) + 1 else expected[1:])
