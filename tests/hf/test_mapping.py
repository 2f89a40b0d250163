"""The table's arithmetic: axes, slices and names."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.config import FAMILIES, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import encoder as encoder_lib
from xinst_jax.hf import mapping
from xinst_jax.hf.mapping import Row
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets

OUT = Row("o.{layer}", "layers/out_lnhd", "d(nh)")
ROWS = dict.fromkeys(
    row for table in (*mapping.FAMILIES.values(), encoder_lib.BERT) for row in table
)


def test_every_family_has_a_table_that_names_no_tensor_or_leaf_twice():
    assert set(mapping.FAMILIES) == set(FAMILIES)
    for rows in mapping.FAMILIES.values():
        assert len({row.name for row in rows}) == len(rows)
        assert len({row.path for row in rows}) == len(rows)


def test_a_tensor_is_the_einsum_that_it_stands_for():
    part_nhd = np.random.default_rng(0).normal(size=(2, 3, 5))
    tensor = OUT.to_tensor(part_nhd)
    assert tensor.shape == (5, 6)
    context_nh = np.random.default_rng(1).normal(size=(2, 3))
    expected_d = np.einsum("nh,nhd->d", context_nh, part_nhd)
    np.testing.assert_allclose(tensor @ context_nh.reshape(-1), expected_d)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} {row.path}")
def test_every_row_goes_there_and_back_whole_and_in_pieces(row):
    rng = np.random.default_rng(0)
    lengths = dict(zip("dfhknvsc", (4, 6, 3, 2, 8, 10, 7, 5), strict=True))
    shape = tuple(lengths[letter] for letter in row.leaf_axes)
    part = rng.normal(size=shape)
    tensor = row.to_tensor(part)
    sizes = row.sizes((2, *shape) if row.stacked else shape)
    assert tensor.shape == row.tensor_shape(sizes)
    for cut in (
        lambda n: slice(0, n),
        lambda n: slice(n // 2, n),
        lambda n: slice(1, 2),
    ):
        wanted = {letter: cut(size) for letter, size in sizes.items()}
        expected = part[tuple(wanted[letter] for letter in row.leaf_axes)]
        np.testing.assert_array_equal(
            row.from_tensor(tensor.__getitem__, wanted, sizes), expected
        )


def test_names_of_a_stacked_leaf_count_its_blocks():
    assert OUT.names((3, 2, 3, 5)) == ["o.0", "o.1", "o.2"]
    assert Row("norm", "norm/scale_d", "d").names((5,)) == ["norm"]


def test_tensors_are_written_block_by_block():
    rows = (
        Row("embed", "embedding/table_vd", "vd"),
        Row("a.{layer}", "layers/a_ld", "d"),
        Row("b.{layer}", "layers/b_ldf", "fd"),
        Row("norm", "norm/scale_d", "d"),
        Row("head", "head/table_vd", "vd"),
    )
    shapes = {
        "embedding/table_vd": (9, 4),
        "layers/a_ld": (2, 4),
        "layers/b_ldf": (2, 4, 5),
        "norm/scale_d": (4,),
    }
    found = {name: block for name, (_, block) in mapping.tensors(rows, shapes).items()}
    assert found == {"embed": 0, "a.0": 0, "b.0": 0, "a.1": 1, "b.1": 1, "norm": 0}
    assert list(found) == ["embed", "a.0", "b.0", "a.1", "b.1", "norm"]


@pytest.mark.parametrize("name", presets.PUBLISHED)
def test_the_table_has_the_leaves_that_the_decoder_has(name):
    model = presets.published(name)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    made = mapping.leaves(decoder.abstract_params(model, ShardingRules(), mesh))
    assert mapping.leaf_shapes(model) == {
        path: leaf.shape for path, leaf in made.items()
    }


def test_leaves_are_named_by_their_keys():
    tree = {"a": {"b": jnp.ones(1)}, "c": jnp.zeros(2)}
    assert sorted(mapping.leaves(tree)) == ["a/b", "c"]


def test_many_faults_are_counted_rather_than_listed():
    expected = {f"t{number:02d}": (1,) for number in range(20)}
    with pytest.raises(UserError, match=r"t07 and 12 more\. Left over: none"):
        mapping.check(expected, {}, pathlib.Path("weights"), "Look at it.")
