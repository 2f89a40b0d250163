"""The files from outside a workdir that its first stages read, checked and digested."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping

from xinst_jax import config as config_lib
from xinst_jax import run_file, shards
from xinst_jax.config import RunConfig
from xinst_jax.data import sources, storage, tfds_rows
from xinst_jax.errors import UserError

_MIB = 2**20
_PIECE = 2**14


def located(path: str) -> str:
    """A configured path pattern, from the current directory, else from the project.

    Each comma-separated pattern is looked for on its own; its first folder decides.
    """
    parts = []
    for part in (piece.strip() for piece in path.split(",")):
        top = part.split("/")[0]
        outside = part.startswith((tfds_rows.PREFIX, "/")) or storage.is_remote(part)
        if top and not outside and not pathlib.Path(top).exists():
            part = str(run_file.project_path(top) / "/".join(part.split("/")[1:]))
        parts.append(part)
    return ",".join(parts)


@functools.cache
def corpus_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of every language's raw text.

    Raises:
      UserError: a language has no file, or its files hold no row with the text field.
    """
    path = located(run.corpus.path)
    for code in run.languages:
        sources.preflight(path, code, [[run.corpus.text_field]])
    config = run.corpus
    beside = (*config.evaluation_sets, config.screen_words, config.language_model)
    return {**_digests(path, run.languages), **_beside(beside, run.languages)}


@functools.cache
def seed_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of the seed pairs; a language may have none, but not all of them.

    Raises:
      UserError: no language has a file, or a file has no row with the fields.
    """
    path, config = located(run.seed_pairs.path), run.seed_pairs
    seeded = [code for code in run.languages if sources.exists(path, code)]
    if not seeded and not config.translate.path:
        raise UserError(
            f"No seed pairs: nothing matches SeedConfig.path = {config.path!r} for "
            f"{', '.join(run.languages)}. At least one language needs pairs of an "
            "English instruction and a response."
        )
    alternatives = [
        [config.instruction_field, config.output_field],
        [config.title_field, config.parallel_output_field],
    ]
    for code in seeded:
        sources.preflight(path, code, alternatives)
    beside = dict(_beside(config.evaluation_sets, run.languages))
    if config.translate.path:
        beside |= _digests(located(config.translate.path), ("en",))
    return {**_digests(path, tuple(seeded)), **beside}


def evaluation_sets(run: RunConfig) -> tuple[str, ...]:
    """The evaluation sets of corpus and seed pairs, as configured, each once."""
    given = (*run.corpus.evaluation_sets, *run.seed_pairs.evaluation_sets)
    return tuple(dict.fromkeys(given))


@functools.cache
def evaluation_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of the evaluation sets that instructions are compared with."""
    return _beside(evaluation_sets(run), run.languages)


@functools.cache
def tokenizer_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of a given tokenizer's files; none where it is trained.

    Raises:
      UserError: the path does not exist, has no tokenizer or one that needs code of its
        own.
    """
    from xinst_jax.hf import tokenizer

    given = run.base_model or run.tokenizer.path
    if not given:
        return {}
    path = run_file.project_path(given)
    if not path.exists():
        field = "RunConfig.base_model" if run.base_model else "TokenizerConfig.path"
        raise UserError(f"{field} = {given!r} does not exist.")
    folder = tokenizer.find(path).parent
    tokenizer.check_no_code(folder)
    beside = [path, *folder.glob("*token*.json")]
    found = _companions(folder) if path.is_dir() else sorted(set(beside))
    return {file.name: shards.file_digest(file) for file in found}


@functools.cache
def template_digests(run: RunConfig) -> Mapping[str, str]:
    """Digest of the chat template that the base model's tokenizer brings.

    Raises:
      UserError: it brings none, or the tokenizer is trained by the run.
    """
    from xinst_jax.eval import chat_format
    from xinst_jax.hf import tokenizer

    given = run.base_model or run.tokenizer.path
    if not given:
        raise UserError(
            "BenchmarkConfig.chat_template = True asks the base model in a "
            "conversation, and one that this run trains has no chat template. Set it "
            "to False, or BenchmarkConfig.models = ('tuned',)."
        )
    folder = tokenizer.find(run_file.project_path(given)).parent
    template = chat_format.of_folder(folder).template
    return {"chat_template": config_lib.digest(template)}


@functools.cache
def base_model_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of the base model's config, and of its weights' files by their parts.

    Those of the adapter that is merged into it too; none where it is trained.

    Raises:
      UserError: the folder has no config.json, or holds a model that the decoder does
        not compute or that is too short for the run; its tensors are not that model's,
        or its tokenizer does not fit them; or there is no such adapter, or it is not a
        plain LoRA; or the model that is trained could not be exported.
    """
    from xinst_jax.hf import config as hf_config

    if not run.base_model:
        hf_config.check_said(run.model)
        return {}
    from xinst_jax.hf import adapter, importable

    folder = run_file.project_path(run.base_model)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"RunConfig.base_model = {run.base_model!r} is not a Hugging Face folder: "
            "expected config.json and *.safetensors in it."
        )
    model = hf_config.read(folder)
    config_lib.check_lengths(run, model)
    weights = importable.check(folder, model)
    found = {
        file.name: _digest_of_parts(file) for file in sorted({*weights.files.values()})
    }
    if run.base_adapter:
        own = run_file.project_path(run.base_adapter)
        adapter.check(own)
        found |= {
            f"adapter/{name}": _digest_of_parts(own / name)
            for name in (adapter.CONFIG, adapter.WEIGHTS)
        }
    return {"config.json": shards.file_digest(folder / "config.json"), **found}


@functools.cache
def licence_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of what the base model's folder says of its licence, word for word."""
    from xinst_jax.hf import licences

    if not run.base_model:
        return {}
    files = licences.files(run_file.project_path(run.base_model))
    return {f"licence/{file.name}": shards.file_digest(file) for file in files}


@functools.cache
def folder_digests(paths: tuple[str, ...]) -> Mapping[str, str]:
    """Digests of the models in Hugging Face folders, by their parts.

    Raises:
      UserError: one is no such folder, or holds a model that the decoder does not
        compute.
    """
    from xinst_jax.hf import config as hf_config
    from xinst_jax.hf import importable

    found: dict[str, str] = {}
    for path in paths:
        folder = run_file.project_path(path)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{path!r}, named as opponent or judge, is not a Hugging Face folder: "
                "expected config.json and *.safetensors in it."
            )
        weights = importable.check(folder, hf_config.read(folder))
        files = sorted({*weights.files.values()})
        found |= {f"{path}/{file.name}": _digest_of_parts(file) for file in files}
        beside = _companions(folder)
        found |= {f"{path}/{file.name}": shards.file_digest(file) for file in beside}
    return found


@functools.cache
def encoder_digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of the sentence encoder's files, by their parts.

    Raises:
      UserError: there is no such folder or package.
    """
    from xinst_jax.hf import encoder

    folder = encoder.locate(run.diversify.encoder)
    files = sorted(path for path in folder.glob("*.*") if path.is_file())
    return {f"encoder/{path.name}": _digest_of_parts(path) for path in files}


def _companions(folder: pathlib.Path) -> list[pathlib.Path]:
    """A Hugging Face folder's settings and tokenizer."""
    return sorted(
        path
        for pattern in ("*.json", "*.model", "*.txt")
        for path in folder.glob(pattern)
    )


def _digest_of_parts(path: pathlib.Path) -> str:
    """Digest of a large file's size, of its first and last MiB, and of a piece from the
    start and from the middle of each tensor: quick, and tells apart the weights of two
    trainings, which may leave most tensors as they are."""
    from xinst_jax.hf import header

    size = path.stat().st_size
    pieces = [(0, _MIB), (max(0, size - _MIB), _MIB)]
    if path.suffix == ".safetensors":
        for entry in header.read(path).values():
            piece = min(_PIECE, entry.size)
            middle = entry.start + (entry.size - piece) // 2
            pieces += [(entry.start, piece), (middle, piece)]
    digest = hashlib.sha256(f"{size}/".encode())
    with path.open("rb") as file:
        for start, length in pieces:
            file.seek(start)
            digest.update(file.read(length))
    return digest.hexdigest()


def _beside(paths: tuple[str, ...], codes: tuple[str, ...]) -> Mapping[str, str]:
    """Digests of files that texts are compared with; '{lang}' stands for each code."""
    return {
        f"beside/{number}/{name}": digest
        for number, path in enumerate(filter(None, paths))
        for name, digest in _digests(located(path), codes).items()
    }


def _digests(path: str, codes: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for code in codes:
        for number, item in enumerate(sorted(sources.digests(path, code).items())):
            name, digest = item
            found[f"{code}/{number}/{pathlib.PurePath(name).name}"] = digest
    return found
