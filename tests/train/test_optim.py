import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import optim


def test_learning_rate_rises_in_a_line_and_falls_as_half_a_cosine():
    config = TrainConfig(
        steps=100, warmup_steps=10, learning_rate=2.0, final_lr_share=0.1
    )
    rates = [float(optim.learning_rate(config)(count)) for count in range(100)]
    np.testing.assert_allclose(rates[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
    done = np.arange(1, 91) / 90
    expected = 0.2 + 1.8 * (1 + np.cos(np.pi * done)) / 2
    np.testing.assert_allclose(rates[10:], expected, rtol=1e-5)
    assert rates[-1] == pytest.approx(0.2, rel=1e-5)


def test_no_warm_up_starts_at_the_peak():
    config = TrainConfig(steps=1000, warmup_steps=0, learning_rate=2.0)
    assert float(optim.learning_rate(config)(0)) == pytest.approx(2.0, rel=1e-4)


def test_a_warm_up_longer_than_the_training_is_all_of_it():
    config = TrainConfig(steps=20, warmup_steps=30, learning_rate=2.0)
    rates = [float(optim.learning_rate(config)(count)) for count in range(20)]
    np.testing.assert_allclose(rates, 2.0 * np.arange(1, 21) / 20, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        # Adam divides by 1 - b ** updates.
        ({"b1": 1.0}, r"TrainConfig\.b1 is a decay of 0 or more and below 1, found 1"),
        ({"b2": 1}, "b2 is a decay"),
        ({"b2": -0.1}, "b2 is a decay"),
        ({"ema_decay": 1.0}, "ema_decay is a decay"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, found -0.1"),
        (
            {"weight_decay": float("nan")},
            "weight_decay must not be negative, found nan",
        ),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative"),
        ({"steps": 0}, "steps must be positive"),
    ],
)
def test_values_that_no_optimizer_can_work_with_are_refused(fields, told):
    with pytest.raises(UserError, match=told):
        TrainConfig(**fields)


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_decay_and_norms_do_not_although_stacked(tied):
    model = presets.tiny(tie_embeddings=tied)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    params = decoder.abstract_params(model, ShardingRules(), mesh)
    assert params["layers"]["mlp_norm"]["scale_ld"].ndim == 2
    found = jax.tree_util.tree_leaves_with_path(optim.decayed(params))
    kept = {jax.tree_util.keystr(path) for path, decays in found if not decays}
    assert kept == {
        "['final_norm']['scale_d']",
        "['layers']['attention_norm']['scale_ld']",
        "['layers']['mlp_norm']['scale_ld']",
    }


def test_a_bias_of_heads_does_not_decay():
    bias = {
        "query_bias_lnh": jnp.zeros((2, 4, 8)),
        "query_ldnh": jnp.zeros((2, 3, 4, 8)),
    }
    assert optim.decayed(bias) == {"query_bias_lnh": False, "query_ldnh": True}


def test_a_name_that_misses_an_axis_is_an_error():
    with pytest.raises(ValueError, match="gate_df"):
        optim.decayed({"gate_df": jnp.zeros((2, 3, 4))})


def test_updates_equal_torch_adamw_with_clipping():
    config = TrainConfig(
        steps=20, warmup_steps=5, learning_rate=1e-2, weight_decay=0.3, clip_norm=0.5
    )
    rng = np.random.default_rng(0)
    start = {
        "gate_ldf": rng.normal(size=(2, 3, 4)).astype(np.float32),
        "scale_ld": rng.normal(size=(2, 3)).astype(np.float32),
    }
    theirs = {name: torch.nn.Parameter(torch.tensor(a)) for name, a in start.items()}
    groups = [
        {"params": [theirs["gate_ldf"]], "weight_decay": 0.3},
        {"params": [theirs["scale_ld"]], "weight_decay": 0.0},
    ]
    torch_adamw = torch.optim.AdamW(groups, betas=(config.b1, config.b2))
    optimizer = optim.make_optimizer(config)
    ours, opt_state = start, optimizer.init(start)
    for count in range(20):
        grads = {
            name: (rng.normal(size=a.shape) * 10 ** rng.uniform(-3, 1)).astype("f4")
            for name, a in start.items()
        }
        updates, opt_state = optimizer.update(grads, opt_state, ours)
        ours = {name: ours[name] + updates[name] for name in ours}
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(grads[name])
        torch.nn.utils.clip_grad_norm_(theirs.values(), config.clip_norm)
        for group in torch_adamw.param_groups:
            group["lr"] = float(optim.learning_rate(config)(count))
        torch_adamw.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), atol=2e-6)


def random_tree(rng, shapes):
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def updated(optimizer, start, grads):
    """Parameters after an update with each of the gradients."""
    params, opt_state = start, optimizer.init(start)
    update = jax.jit(optimizer.update)
    for gradient in grads:
        updates, opt_state = update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
    return params, opt_state


def test_adafactor_treats_each_block_as_optax_treats_a_matrix_by_itself():
    config = TrainConfig(
        optimizer="adafactor", learning_rate=1e-2, weight_decay=0.1, clip_norm=1e9
    )
    rng = np.random.default_rng(0)
    shapes = {"gate_ldf": (2, 128, 256), "scale_ld": (2, 5), "table_vd": (200, 130)}
    start = random_tree(rng, shapes)
    grads = [random_tree(rng, shapes) for _ in range(3)]
    for gradient in grads:
        gradient["gate_ldf"][1] *= 100  # unlike the other block
    found, opt_state = updated(optim.make_optimizer(config), start, grads)
    rate = optim.learning_rate(config)

    def by_itself(start, grads, decay):
        alone = optax.adafactor(
            rate, multiply_by_parameter_scale=False, weight_decay_rate=None
        )
        decays = optax.add_decayed_weights(decay)
        params, alone_state = start, alone.init(start)
        for count, gradient in enumerate(grads):
            updates, alone_state = alone.update(gradient, alone_state, params)
            decayed, _ = decays.update(
                jnp.zeros_like(params), optax.EmptyState(), params
            )
            params = params + updates - rate(count) * decayed
        return params

    for name, decay in (("gate_ldf", 0.1), ("scale_ld", 0.0)):
        for block in range(2):
            expected = by_itself(
                start[name][block], [one[name][block] for one in grads], decay
            )
            np.testing.assert_allclose(found[name][block], expected, atol=1e-6)
    expected = by_itself(start["table_vd"], [one["table_vd"] for one in grads], 0.1)
    np.testing.assert_allclose(found["table_vd"], expected, atol=1e-6)
    held = sum(leaf.size for leaf in jax.tree.leaves(opt_state))
    assert held < 0.05 * sum(leaf.size for leaf in start.values())


@pytest.mark.parametrize(
    ("shape", "held"),
    [
        ((2, 256, 4, 128), 2 * (256 * 4 + 4 * 128)),
        ((2, 256, 4, 64), 2 * (256 * 4 * 64)),
        ((2, 256, 128, 64), 2 * (256 * 64 + 128 * 64)),
        ((2, 256, 512), 2 * (256 + 512)),
    ],
)
def test_adafactor_factors_over_the_two_longest_axes_if_both_have_128(shape, held):
    optimizer = optim.make_optimizer(TrainConfig(optimizer="adafactor"))
    name = "query_ldnh" if len(shape) == 4 else "gate_ldf"
    abstract = {name: jax.ShapeDtypeStruct(shape, jnp.float32)}
    leaves = jax.tree.leaves(jax.eval_shape(optimizer.init, abstract))
    # Where there is nothing to hold optax has one number a block.
    assert sum(leaf.size for leaf in leaves if leaf.size > shape[0]) == held


def test_a_bfloat16_moment_is_optax_adamw_with_that_dtype():
    config = TrainConfig(mu_dtype="bfloat16", learning_rate=1e-2, clip_norm=1e9)
    rng = np.random.default_rng(0)
    shapes = {"gate_ldf": (2, 3, 4), "scale_ld": (2, 3)}
    start = random_tree(rng, shapes)
    grads = [random_tree(rng, shapes) for _ in range(5)]
    found, opt_state = updated(optim.make_optimizer(config), start, grads)
    theirs = optax.adamw(
        optim.learning_rate(config),
        *(config.b1, config.b2),
        mu_dtype=jnp.bfloat16,
        weight_decay=config.weight_decay,
        mask={"gate_ldf": True, "scale_ld": False},
    )
    expected, _ = updated(theirs, start, grads)
    wide, _ = updated(
        optim.make_optimizer(TrainConfig(learning_rate=1e-2)), start, grads
    )
    for name in shapes:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-7)
    assert np.abs(found["gate_ldf"] - wide["gate_ldf"]).max() > 1e-6
    adam = opt_state[1][0]
    for moment, dtype in ((adam.mu, jnp.bfloat16), (adam.nu, jnp.float32)):
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(moment))


def test_the_average_of_equal_parameters_is_these_parameters():
    params = {"scale_d": jnp.array([1.5, -2.0])}
    average = {"scale_d": jnp.array([9.0, 9.0])}
    for count in range(1, 4):
        average = optim.moving_average(average, params, 0.9999, jnp.int32(count))
    np.testing.assert_allclose(average["scale_d"], params["scale_d"], rtol=1e-5)
