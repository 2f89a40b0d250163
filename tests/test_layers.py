"""The design's table of layers, held against every import statement."""

import ast
import pathlib
import subprocess
import sys
import time

import pytest

_PACKAGE = pathlib.Path(__file__).parent.parent / "xinst_jax"
_LAYERS = [
    {
        "",
        "errors",
        "languages",
        "config",
        "run_file",
        "shards",
        "manifest",
        "cluster",
        "slices",
    },
    {"mesh", "distributed", "fate", "numba_calls"},
    {"models"},
    {"train", "infer"},
    {"hf", "aot"},
    {"data"},
    {"pipeline", "eval", "report"},
    {"arguments", "__main__"},
]
_LEVEL = {name: level for level, names in enumerate(_LAYERS) for name in names}
_WITHOUT_TENSORFLOW = set().union(*_LAYERS[:5])
_HEAVY = {"tensorflow", "seqio", "tensorflow_datasets", "tensorflow_text", "clu", "t5"}


def _part(path: pathlib.Path) -> str:
    relative = path.relative_to(_PACKAGE)
    return relative.parts[0].removesuffix(".py").replace("__init__", "")


def _imports(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path.name}: a relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


_FILES = sorted(_PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_PACKAGE)))
def test_no_module_imports_a_higher_layer(path: pathlib.Path):
    own = _LEVEL[_part(path)]
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "xinst_jax" and len(parts) > 1 and parts[1] in _LEVEL:
            assert _LEVEL[parts[1]] <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.relative_to(_PACKAGE)))
def test_accelerator_code_imports_no_tensorflow(path: pathlib.Path):
    if _part(path) in _WITHOUT_TENSORFLOW:
        heavy = {name.split(".")[0] for name in _imports(path)} & _HEAVY
        assert not heavy, f"{path.name} imports {heavy}"


def test_accelerator_code_loads_no_tensorflow():
    modules = [
        ".".join(("xinst_jax", *path.relative_to(_PACKAGE).with_suffix("").parts))
        for path in _FILES
        if _part(path) in _WITHOUT_TENSORFLOW and path.name != "__init__.py"
    ]
    code = (
        f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
        f"print(sorted({_HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_answers_within_a_second():
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "xinst_jax", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.monotonic() - start)
    assert "pipeline" in done.stdout
    assert min(seconds) < 1.0


def test_argument_error_answers_within_a_second():
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "xinst_jax", "rate", "--workdir", "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "--gin_file" in done.stderr
    assert time.monotonic() - start < 1.0
