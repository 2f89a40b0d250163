"""Loops are nodes of a graph where the driver can run them and nobody chose else."""

import jax
import jax.numpy as jnp
import pytest

from xinst_jax.infer.loops import compiler_options


@pytest.mark.filterwarnings("ignore:NVIDIA's driver")
@pytest.mark.parametrize(
    ("driver", "flags", "on_device"),
    [
        (13000, "", True),
        (12090, "--xla_dump_to=here", True),
        (12080, "", False),
        (0, "", False),
        (13000, "--xla_gpu_enable_command_buffer=FUSION", False),
    ],
    ids=["CUDA 13", "CUDA 12.9", "CUDA 12.8", "no driver", "chosen"],
)
def test_where_loops_are_nodes_of_a_graph(driver, flags, on_device):
    options = compiler_options(driver, flags)
    assert any("WHILE" in str(value) for value in options.values()) == on_device


def test_an_old_driver_is_said_to_be_the_reason():
    with pytest.warns(UserWarning, match="CUDA 12.8; below 12.9"):
        compiler_options(12080, "")


def test_the_compiler_knows_the_options():
    """Of whatever kind of device: it reads them for a GPU alone."""

    def doubled(x, times):
        return jax.lax.fori_loop(0, times, lambda _, x: 2 * x, x)

    compiled = jax.jit(doubled, compiler_options=compiler_options(13000, ""))
    assert compiled(jnp.float32(3), 4) == 48
