import math

import numpy as np
import pytest

from xinst_jax.errors import UserError
from xinst_jax.eval.likelihood import likelihood


def test_losses_weigh_tokens_and_characters_alike():
    random = np.random.default_rng(0)
    tokens_n = random.integers(1, 50, 20)
    characters_n = tokens_n * random.integers(2, 6, 20)
    logprobs_n = -random.gamma(2.0, 1.0, 20) * tokens_n
    result = likelihood(logprobs_n, tokens_n, characters_n)
    per_token = np.repeat(-logprobs_n / tokens_n, tokens_n)
    assert result.loss_per_token == pytest.approx(per_token.mean())
    per_character = np.repeat(-logprobs_n / characters_n, characters_n)
    assert result.loss_per_character == pytest.approx(per_character.mean())
    assert 2**-result.bits_per_character == pytest.approx(
        math.exp(-per_character.mean())
    )
    assert (result.responses, result.tokens) == (20, tokens_n.sum())


def test_a_uniform_model_over_256_symbols_needs_8_bits_a_character():
    characters_n = np.array([3, 10])
    result = likelihood(-characters_n * math.log(256), characters_n, characters_n)
    assert result.bits_per_character == pytest.approx(8)


def test_float32_sums_over_many_responses_keep_their_digits():
    many = np.full(200_000, -100.1, np.float32)
    result = likelihood(many, np.full(200_000, 7), np.full(200_000, 9))
    assert result.loss_per_token == pytest.approx(
        float(np.float32(100.1)) / 7, rel=1e-9
    )


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_loss_that_is_not_finite_is_refused(bad):
    with pytest.raises(UserError, match="response 1"):
        likelihood(np.array([-1.0, bad]), np.array([1, 1]), np.array([1, 1]))


def test_nothing_to_score_is_refused():
    with pytest.raises(UserError, match="No held-out response"):
        likelihood(np.zeros(0), np.zeros(0), np.zeros(0))
