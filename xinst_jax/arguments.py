"""What can be asked for on the command line: verbs, their options, help text."""

import argparse
from typing import TYPE_CHECKING

from xinst_jax import cluster

if TYPE_CHECKING:
    from xinst_jax.hf.hub import Kind

_VERBS = {
    "pipeline": "every stage in order; what is up to date is left alone",
    "prepare": "raw text -> corpus/: cleaned, cut, language-checked, de-duplicated",
    "seed": "instruction pairs -> seed/: checked and split",
    "tokenizer": "train a SentencePiece model on the corpus, or take the one given",
    "import-hf": "a Hugging Face folder -> base/: sharded parameters",
    "train": "train one model: --task lm, reverse, rate, follow or sft",
    "generate": "corpus/ + generator -> candidates/: an instruction for every text",
    "rate": "candidates/ + rater -> ratings/: scores, and what is kept",
    "diversify": "kept candidates -> diverse/: clustered and drawn evenly",
    "assemble": "all of them -> dataset/: Parquet and JSON with a card",
    "export-hf": "tuned model -> hf_model/: a Hugging Face folder",
    "evaluate": "tuned model + questions -> evaluation/; with a judge, judgments/",
    "benchmark": "base and tuned model -> benchmark/: public tasks, by lm-eval",
    "compare": "two evaluated runs + a judge -> comparison/: which answers better",
    "report": "a workdir -> report/report.html",
    "trace": "a row of dataset/ back to its document: what every stage knows of it",
    "compile": "a training step, compiled for a TPU slice not at hand: does it fit",
}
_TASKS = ("lm", "reverse", "rate", "follow", "sft")
PUSHED: "dict[str, Kind]" = {"export-hf": "model", "assemble": "dataset"}
"""What can be sent to the hub, by verb."""

_MAKES_NO_STAGE = ("compare", "trace", "compile")

TRIED = ("generate", "rate")
"""Verbs that can make a trial, or count what they would do."""

_DRY_RUN = {
    "pipeline": "say which stages are not up to date, and why; make nothing",
    **dict.fromkeys(
        TRIED,
        "count rows, tokens and FLOPs, and measure on a few rows how long all would "
        "take; make nothing",
    ),
    "seed": "say what the translator's endpoint would cost; ask nothing",
    "evaluate": "say what the endpoints would cost; ask nothing",
    "compare": "say what the judge's endpoint would cost; ask nothing",
}


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; `--gin.` overrides are taken out before."""
    found = argparse.ArgumentParser(
        prog="python -m xinst_jax",
        description="From web text in a low-resource language to a model that answers "
        "in it.",
        epilog="--gin.NAME=VALUE overrides a macro of the gin file, "
        "--gin.Class.field=VALUE a field, as often as needed.",
    )
    verbs = found.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, what in _VERBS.items():
        command = verbs.add_parser(verb, help=what, description=what)
        if verb != "compile":
            command.add_argument(
                "--workdir", required=True, help="directory of the run; made if missing"
            )
        command.add_argument(
            "--gin_file", required=True, help="run file, e.g. gin/runs/quickstart.gin"
        )
        if verb == "train":
            command.add_argument("--task", required=True, choices=_TASKS)
        if verb in PUSHED:
            command.add_argument(
                "--push",
                metavar="ORG/NAME",
                help=f"once made, send the folder to this {PUSHED[verb]} of the "
                "Hugging Face hub (a new one is private); needs HF_TOKEN or a login "
                "by 'hf auth login'",
            )
        if verb == "benchmark":
            command.add_argument(
                "--tasks",
                metavar="NAME,NAME",
                help="measure these tasks of lm-evaluation-harness, and not those that "
                "the run file names",
            )
        if verb not in _MAKES_NO_STAGE:
            command.add_argument(
                "--remake",
                action="store_true",
                help="also remove finished stages that took over an hour to make, "
                "where they are made again",
            )
        if verb in _DRY_RUN:
            command.add_argument("--dry_run", action="store_true", help=_DRY_RUN[verb])
        if verb in TRIED:
            command.add_argument(
                "--limit",
                type=_rows,
                metavar="N",
                help="the first N rows of each language alone, into trial/ beside the "
                "run's own",
            )
        if verb == "compare":
            command.add_argument("run_a", metavar="RUN_A", help="workdir of one run")
            command.add_argument("run_b", metavar="RUN_B", help="workdir of the other")
        if verb == "compile":
            _add_compile_arguments(command)
        elif verb == "trace":
            command.add_argument(
                "--id",
                required=True,
                help="the row's id, or LANG/ID, e.g. fi/doc-7#2",
            )
        else:
            _add_cluster(command)
    return found


def _rows(given: str) -> int:
    """A number of rows, 1 at least."""
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more rows, found {given!r}")
    return int(given)


def _add_compile_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--topology",
        required=True,
        help="slice by name (v4-64, v5e-64, v5p-256, v6e-64), by shape (v5e:8x8), or "
        "cpu:8 for fake devices; MeshConfig.slice says how many slices",
    )
    command.add_argument(
        "--task", default="sft", choices=_TASKS, help="which training; sft by default"
    )
    command.add_argument(
        "--search",
        action="store_true",
        help="try layouts, rematerialisation policies and microbatches; print those "
        "that fit, best first",
    )
    command.add_argument(
        "--compiles",
        type=int,
        default=4,
        metavar="N",
        help="with --search: most layouts that are compiled, 4 by default",
    )


def _add_cluster(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "several processes",
        "The same command on every host, with one --workdir that all of them see. On "
        "TPU slices and in Slurm steps nothing of this is needed.",
    )
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help=f"of process 0 (or {cluster.COORDINATOR})",
    )
    group.add_argument(
        "--num_processes", metavar="N", help=f"how many (or {cluster.COUNT})"
    )
    group.add_argument(
        "--process_id",
        metavar="I",
        help=f"which of them this is, from 0 (or {cluster.INDEX})",
    )
