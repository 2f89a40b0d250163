import dataclasses
import shutil

import jax
import numpy as np
import pytest

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import checkpoint, optim, state

RULES = ShardingRules()
MODEL = presets.tiny(vocab_size=64)
OPTIMIZER = optim.make_optimizer(TrainConfig())


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


def abstract_on(mesh, model=MODEL):
    params = decoder.abstract_params(model, RULES, mesh)
    return state.abstract_state(params, OPTIMIZER, mesh)


def random_state(seed=0):
    """A state of random numbers everywhere, on four by two devices."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jax.device_put(
            (1000 * rng.normal(size=leaf.shape)).astype(leaf.dtype), leaf.sharding
        ),
        abstract_on(mesh_of(8, fsdp=4, tensor=2)),
    )


def assert_equal_and_placed(found, expected, abstract):
    for one, other, shape in zip(
        jax.tree.leaves(found),
        jax.tree.leaves(expected),
        jax.tree.leaves(abstract),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert one.sharding == shape.sharding
        assert one.dtype == other.dtype


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    with checkpoint.Checkpoints(directory, keep_last=2) as checkpoints:
        for step in (3, 6, 9):
            checkpoints.save(step, random_state(step))
    return directory


@pytest.mark.parametrize(
    ("devices", "sizes"), [(8, {"fsdp": 4, "tensor": 2}), (8, {"fsdp": 8}), (1, {})]
)
def test_a_state_comes_back_bit_for_bit_on_any_mesh(saved, devices, sizes):
    abstract = abstract_on(mesh_of(devices, **sizes))
    with checkpoint.Checkpoints(saved) as checkpoints:
        assert checkpoints.latest() == 9
        found = checkpoints.restore(9, abstract)
    assert_equal_and_placed(found, random_state(9), abstract)
    assert jax.tree.structure(found) == jax.tree.structure(abstract)


def test_the_newest_checkpoints_are_kept(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["6", "9"]


def test_a_directory_without_checkpoints_has_no_latest(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest() is None


def test_what_a_killed_save_left_is_not_a_checkpoint(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, random_state(1))
    half_written = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1" / "params", half_written / "params")
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    shutil.copytree(tmp_path / "1", tmp_path / "0.orbax-checkpoint-tmp")
    checkpoint.save_params(tmp_path, random_state(0).params)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_another_stage_starts_from_the_parameters_alone(saved, tmp_path):
    params, mesh = random_state(9).params, mesh_of(8, fsdp=8)
    abstract = decoder.abstract_params(MODEL, RULES, mesh)
    assert_equal_and_placed(
        checkpoint.restore_params(saved, abstract), params, abstract
    )
    checkpoint.save_params(tmp_path, random_state(1).params)
    checkpoint.save_params(tmp_path, params)
    assert_equal_and_placed(
        checkpoint.restore_params(tmp_path, abstract), params, abstract
    )


def test_parameters_alone_are_not_a_training_state(tmp_path):
    checkpoint.save_params(tmp_path, random_state().params)
    with (
        checkpoint.Checkpoints(tmp_path) as checkpoints,
        pytest.raises(UserError, match="no optimizer"),
    ):
        checkpoints.restore(0, abstract_on(mesh_of(1)))


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        (
            {"vocab_size": 128},
            r"embedding/table_vd has shape \(64, 32\), expected shape",
        ),
        ({"mlp_dim": 64}, "layers/mlp/down_lfd"),
        ({"tie_embeddings": False}, "head/table_vd has nothing"),
    ],
)
def test_another_model_is_an_error_that_names_the_leaf(saved, change, leaf, capfd):
    model = presets.tiny(**({"vocab_size": 64} | change))
    abstract = decoder.abstract_params(model, RULES, mesh_of(1))
    with pytest.raises(UserError, match=leaf):
        checkpoint.restore_params(saved, abstract)
    assert capfd.readouterr().err == ""


def test_no_checkpoint_is_an_error(tmp_path):
    abstract = decoder.abstract_params(MODEL, RULES, mesh_of(1))
    with pytest.raises(UserError, match="No checkpoint"):
        checkpoint.restore_params(tmp_path, abstract)


def test_a_disk_that_fills_up_is_an_error_that_says_so(tmp_path, monkeypatch):
    checkpoints = checkpoint.Checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise ValueError(
            'RESOURCE_EXHAUSTED: Failed writing: "d/1f": Failed to write 8 bytes to '
            "file 7: No space left on device [os_error_code='28']"
        )

    monkeypatch.setattr(checkpoints._checkpointer, "save_checkpointables_async", full)
    with pytest.raises(UserError, match="No space left on the disk"):
        checkpoints.save(1, random_state())
    monkeypatch.undo()
    checkpoints.close()


def test_space_is_asked_for_what_is_not_written_yet(tmp_path, monkeypatch):
    found = random_state()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(found))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage._replace(free=2 * size)
    )
    checkpoint.check_space(tmp_path / "new", found, copies=2)
    with pytest.raises(UserError, match="needs"):
        checkpoint.check_space(tmp_path / "new", found, copies=3)
    (tmp_path / "5").mkdir()
    checkpoint.check_space(tmp_path, found, copies=3)


def test_the_digest_is_of_the_numbers_not_of_where_they_lie():
    params = random_state().params
    moved = jax.device_get(params)
    moved = jax.device_put(moved, jax.devices()[0])
    assert checkpoint.params_digest(moved) == checkpoint.params_digest(params)
    changed = jax.tree.map(np.array, jax.device_get(params))
    changed["final_norm"]["scale_d"][3] = np.nextafter(
        changed["final_norm"]["scale_d"][3], np.float32(np.inf)
    )
    changed = jax.device_put(changed, jax.devices()[0])
    assert checkpoint.params_digest(changed) != checkpoint.params_digest(params)


def test_the_last_the_best_and_every_fourth_are_kept(tmp_path):
    kept = {"keep_last": 1, "keep_best": 1, "keep_every": 4, "best_metric": "loss/fi"}
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: None, 6: 1.0, 7: 1.5}
    with checkpoint.Checkpoints(tmp_path, **kept) as checkpoints:
        for step, loss in losses.items():
            metrics = None if loss is None else {"loss/fi": loss, "loss": -step}
            checkpoints.save(step, random_state(step), metrics)
        checkpoints.wait()
        assert checkpoints.best("loss/fi") == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "6", "7"]
    abstract = decoder.abstract_params(MODEL, RULES, mesh_of(1))
    for metric, step in (("loss/fi", 6), (None, 7), ("loss", 7)):
        found = checkpoint.restore_params(tmp_path, abstract, metric)
        assert_equal_and_placed(found, random_state(step).params, abstract)
    with pytest.raises(UserError, match="No checkpoint with a loss/sw"):
        checkpoint.restore_params(tmp_path, abstract, "loss/sw")


def test_another_stage_starts_from_the_moving_average(tmp_path):
    saved = random_state(1)
    saved = dataclasses.replace(saved, ema=random_state(2).params)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, saved)
    params = decoder.abstract_params(MODEL, RULES, mesh_of(1))
    found = checkpoint.restore_params(tmp_path, params)
    assert_equal_and_placed(found, saved.ema, params)
    abstract = state.abstract_state(params, OPTIMIZER, mesh_of(1), ema=True)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        found = checkpoints.restore(1, abstract)
    assert_equal_and_placed(found, saved, abstract)
