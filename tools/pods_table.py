"""Compiles the paper's runs for TPU slices: docs/pods.md and the files of gin/pods/.

    python tools/pods_table.py              # compiles what is not compiled yet: an hour
    python tools/pods_table.py --page       # compiles nothing, writes what is known
    python tools/pods_table.py llama3_8b:v5e-64 gemma_7b:v5p-256x2

Each cell tries the layouts of `xinst_jax compile --search`, most promising first,
until one fits, and keeps what it found in docs/pods/, one JSON file a model and slice:
started again it goes on. A file counts as long as it is of this training, of this code
of the step and of this libtpu; a cell without one says 'not run'. Needs libtpu
(requirements-tpu.txt), no TPU.
"""

import argparse
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xinst_jax.config import RunConfig

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "pods.md"
FOUND = ROOT / "docs" / "pods"
LAYOUTS = ROOT / "gin" / "pods"
START, END = "<!-- tools/pods_table.py -->", "<!-- end -->"
MODELS = {
    "llama3_8b": "Llama 3 8B",
    "llama2_7b": "Llama 2 7B",
    "gemma_7b": "Gemma 7B",
    "llama2_13b": "Llama 2 13B",
}
PODS = ("v4-64", "v5e-64", "v5e-256", "v5p-64", "v5p-256", "v5p-256x2", "v6e-64")
"""Slices by their names; 'x2' is two of them."""

_TRIES = 4
_HEAD = (
    "slice",
    "chips",
    "layout",
    "remat, parts",
    "arguments + temporaries",
    "of HBM",
    "step, at least",
    "binds",
    "MFU, at most (causal / full)",
    "tokens/s a chip, at most",
    "chip-hours, at least",
)


def compiled(model: str, pod: str) -> dict[str, Any]:
    """What the search found for a model and slice, ready for JSON."""
    from xinst_jax import run_file
    from xinst_jax.aot import report as report_lib
    from xinst_jax.aot import search
    from xinst_jax.pipeline import proof

    name, _, slices = pod.partition("x")
    run = run_file.load(
        str(_run_file(model)),
        [f"MeshConfig.slice={slices or 1}"],
        leave_open=True,
    )
    layout = proof.layout(run, "sft", name)
    record: dict[str, Any] = {
        **_identity(model),
        "chips": layout.topology.chips,
        "failed": [],
    }
    say = functools.partial(print, flush=True)
    begun = time.monotonic()
    for _, found in search.tried(search.ranked(layout), _TRIES, say):
        for line in report_lib.lines(found, proof.schedule(run)):
            say(line)
        entry = {
            "layout": report_lib.described(found.mesh),
            "mesh": dict(found.mesh),
            "remat": found.remat,
            "parts": found.train.microbatches,
            "needed": found.needed,
            "seconds_to_compile": round(time.monotonic() - begun, 1),
        }
        begun = time.monotonic()
        if found.roofline is None or found.memory is None:
            record["failed"].append(entry)
            continue
        chip = layout.topology.chip
        assert chip is not None
        return (
            record
            | entry
            | {
                "memory": dataclasses.asdict(found.memory),
                "share": found.needed / chip.hbm_bytes,
                "step": found.roofline.seconds,
                "roofline": dataclasses.asdict(found.roofline),
                "binds": found.roofline.binds,
                "mfu": [found.mfu(True), found.mfu(False)],
                "speed": found.tokens_per_second / found.topology.chips,
                "exchanges": [dataclasses.asdict(e) for e in found.exchanges],
            }
        )
    return record


def row(pod: str, record: dict[str, Any] | None, hours: float) -> str:
    """A slice's row of a model's table; `hours` are the chip-hours of its run."""
    if record is None:
        return f"| {pod} |" + " not run |" * (len(_HEAD) - 1)
    if "step" not in record:
        tries = "; ".join(
            f"{e['layout']}, {e['remat']}, {e['parts']} parts: "
            f"{e['needed'] / 2**30:.1f} GiB"
            for e in record["failed"]
        )
        told = f"none of those tried fits ({tries})" if tries else "none may fit"
        return f"| {pod} | {record['chips']} | {told} |" + " |" * (len(_HEAD) - 3)
    memory = record["memory"]
    cells = (
        pod,
        str(record["chips"]),
        record["layout"],
        f"{record['remat']}, {record['parts']}",
        f"{memory['arguments'] / 2**30:.2f} + {memory['temporaries'] / 2**30:.2f} GiB",
        f"{record['share']:.0%}",
        f"{record['step']:.2f} s",
        record["binds"],
        f"{record['mfu'][0]:.0%} / {record['mfu'][1]:.0%}",
        f"{record['speed']:,.0f}",
        f"{hours:,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    """All tables, in Markdown."""
    text = []
    for model, title in MODELS.items():
        text += [f"\n### {title}\n", "| " + " | ".join(_HEAD) + " |"]
        text.append("|---" * len(_HEAD) + "|")
        for pod in PODS:
            record = _read(model, pod)
            text.append(row(pod, record, _chip_hours(model, record)))
    return "\n".join(text)


def _chip_hours(model: str, record: dict[str, Any] | None) -> float:
    """Of a run's trainings, at the time that a token of the compiled step takes."""
    from xinst_jax.pipeline import proof

    if not record or "step" not in record:
        return 0.0
    tokens = sum(training.tokens for training in proof.schedule(_run(model)))
    return tokens / record["speed"] / 3600


def write_page() -> None:
    """Puts the tables where the page has them."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{page()}\n{END}{after}")


def layout_file(model: str, pod: str, record: dict[str, Any]) -> str:
    """The run file of a model on a slice: the model's own, with the layout found."""
    return "\n".join(
        (
            f"# {MODELS[model]} on {pod}, {record['chips']} chips: the layout of "
            "docs/pods.md, written by",
            f"# tools/pods_table.py. Compiled, not run: {record['share']:.0%} of a "
            f"chip's memory, at least {record['step']:.2f} s a step.",
            f"include 'gin/runs/x_instruction_{model}.gin'",
            "",
            *(f"MeshConfig.{name} = {size}" for name, size in record["mesh"].items()),
            f"MICROBATCHES = {record['parts']}",
            f"REMAT = '{record['remat']}'",
            "",
        )
    )


def write_layouts() -> None:
    """Writes a run file for each slice that a layout was found for."""
    LAYOUTS.mkdir(exist_ok=True)
    for model in MODELS:
        for pod in PODS:
            record = _read(model, pod)
            if record and "step" in record:
                path = LAYOUTS / f"{model}_{pod}.gin"
                path.write_text(layout_file(model, pod, record))


def _run(model: str) -> "RunConfig":
    from xinst_jax import run_file

    return run_file.load(str(_run_file(model)), [], leave_open=True)


def _run_file(model: str) -> pathlib.Path:
    return ROOT / "gin" / "runs" / f"x_instruction_{model}.gin"


_STEP = (
    "models/**/*.py",
    *(
        f"train/{name}.py"
        for name in ("step", "loss", "fused_head", "optim", "state", "health", "lora")
    ),
    *(
        f"aot/{name}.py"
        for name in ("build", "collectives", "executed", "hlo", "report", "roofline")
    ),
    *(f"aot/{name}.py" for name in ("topology", "traffic")),
    "mesh.py",
)
"""The code that a step's program and its report are made by; a row names its layout, so
what it was searched by is no part of them."""

_SETTINGS = ("model", "mesh", "sft")
"""The fields of a run that they depend on; its chip-hours are counted from the step."""


def _identity(model: str) -> dict[str, str]:
    """What a result is of: the training's settings, the code of the step, libtpu."""
    from xinst_jax import config

    code = hashlib.sha256()
    for pattern in _STEP:
        for path in sorted((ROOT / "xinst_jax").glob(pattern)):
            code.update(path.read_bytes())
    run = _run(model)
    # Operational fields too: they change no result, but the program.
    settings = {name: dataclasses.asdict(getattr(run, name)) for name in _SETTINGS}
    try:
        compiler = importlib.metadata.version("libtpu")
    except importlib.metadata.PackageNotFoundError:
        compiler = ""
    return {
        "settings": config.digest(settings),
        "code": code.hexdigest(),
        "libtpu": compiler,
    }


def _path(model: str, pod: str) -> pathlib.Path:
    return FOUND / f"{model}_{pod}.json"


def _read(model: str, pod: str) -> dict[str, Any] | None:
    path = _path(model, pod)
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    wanted = _identity(model)
    # Without a compiler the page can still be written, of what another one made.
    known = [name for name, value in wanted.items() if value]
    return record if all(record[name] == wanted[name] for name in known) else None


def main() -> int:
    """Compiles what is missing, each in a process of its own, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "cells", nargs="*", metavar="MODEL:SLICE", help="all by default"
    )
    parser.add_argument("--page", action="store_true", help="compile nothing")
    parser.add_argument("--one", metavar="MODEL:SLICE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        model, _, pod = options.one.partition(":")
        found = json.dumps(compiled(model, pod), indent=1) + "\n"
        FOUND.mkdir(parents=True, exist_ok=True)
        temporary = _path(model, pod).with_suffix(".tmp")
        temporary.write_text(found)
        temporary.replace(_path(model, pod))
        return 0
    failures = 0
    cells = options.cells or [f"{model}:{pod}" for pod in PODS for model in MODELS]
    for cell in [] if options.page else cells:
        model, _, pod = cell.partition(":")
        if model not in MODELS or pod not in PODS:
            parser.error(f"{cell}: models are {', '.join(MODELS)}; slices {PODS}")
        if _read(model, pod) is None:
            print(f"== {cell}", flush=True)
            command = [sys.executable, __file__, "--one", cell]
            failures += subprocess.run(command).returncode != 0
            write_page()
            write_layouts()
    write_page()
    write_layouts()
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
