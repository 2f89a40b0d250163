"""How many slots fit: generation compiled for TPUs that are not there.

Prints for each number of slots what a chip must hold: the weights, the slots' keys and
values, two rows of prompts that were read, and what the programs need beside them.
Nothing is run, and no TPU is needed, but its compiler (requirements-tpu.txt).

    python tools/slots.py --model llama_3_8b --topology v5e:2x2 --tensor 4
    python tools/slots.py --model gemma_7b --topology v6e:2x2 --tensor 4 \\
        --cache_dtype int8 --batch_rows 64 128 256
"""

import argparse
import pathlib
import sys

import rich.console
import rich.table

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from xinst_jax.aot import generation, topology
from xinst_jax.aot.build import TooLargeError
from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets

_GIB = 2**30
_PARTS = ("weights", "cache", "two rows", "temporaries", "needed")


def main() -> None:
    """Compiles and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="llama_3_8b", choices=presets.PUBLISHED, help="its shape"
    )
    parser.add_argument("--topology", default="v5e:2x2", help="as for `compile`")
    parser.add_argument("--tensor", type=int, default=4, help="MeshConfig.tensor")
    parser.add_argument("--batch_rows", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--cache_dtype", default="compute")
    parser.add_argument("--prompt", type=int, default=1920, help="the last bucket")
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--prefill_columns", type=int, default=2048)
    arguments = parser.parse_args()
    try:
        rich.console.Console().print(table(arguments))
    except UserError as error:
        sys.exit(str(error))


def table(arguments: argparse.Namespace) -> rich.table.Table:
    """A row for each number of slots, bytes of a chip in GiB."""
    chips = topology.parse(arguments.topology)
    if chips.chip is None:
        raise UserError("--topology: give TPUs; fake devices have no memory to fill.")
    model = presets.published(arguments.model)
    mesh = make_mesh(MeshConfig(tensor=arguments.tensor), topology.devices(chips))
    room = chips.chip.hbm_bytes
    made = rich.table.Table(
        title=f"{arguments.model} on {chips}, tensor {arguments.tensor}, cache in "
        f"{arguments.cache_dtype}; GiB a chip of {room / _GIB:.2f}"
    )
    for name in ("slots", *_PARTS, "fits"):
        made.add_column(name, justify="right")
    for slots in arguments.batch_rows:
        decode = DecodeConfig(
            batch_rows=slots,
            cache_dtype=arguments.cache_dtype,
            prompt_buckets=(arguments.prompt,),
            max_new_tokens=arguments.max_new_tokens,
            prefill_columns=arguments.prefill_columns,
        )
        try:
            built = generation.compiled(model, ShardingRules(), mesh, decode)
        except TooLargeError as error:
            told = f"> {error.needed / _GIB:.2f}"
            made.add_row(str(slots), *[""] * (len(_PARTS) - 1), told, "no")
            continue
        parts = (
            built.weights,
            built.cache,
            2 * built.row,
            built.temporaries,
            built.needed,
        )
        fits = "yes" if built.needed <= room else "no"
        made.add_row(str(slots), *(f"{part / _GIB:.2f}" for part in parts), fits)
    return made


if __name__ == "__main__":
    main()
