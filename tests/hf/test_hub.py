"""Pushing, against a hub of the test's own on 127.0.0.1."""

import hashlib
import json
import logging
import os
import pathlib
import subprocess
import sys

import httpx2
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants

from tests.hf.stub_hub import Hub, running
from xinst_jax import __main__ as command_line
from xinst_jax.errors import UserError
from xinst_jax.hf import hub
from xinst_jax.pipeline import stages
from xinst_jax.pipeline.runner import Made, Stage

_CARD = "---\nlicense: apache-2.0\n---\n\n# Tiny\n"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A running hub, a token for it, and no wait between attempts."""
    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        # Xet's protocol is a compiled library's; a stub speaks the older one, LFS.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
        monkeypatch.setenv("HF_TOKEN", found.token)
        monkeypatch.setattr(hub, "_WAITS", (0.0, 0.0))
        yield found


def _folder(path: pathlib.Path, kind: str = "model", shards: int = 2) -> pathlib.Path:
    """A folder with fresh bytes, and with what the pipeline keeps for itself."""
    rng = np.random.default_rng()
    large = {
        "model": [f"model-{n}-of-{shards}.safetensors" for n in range(shards)],
        "dataset": [f"fi/part-{n}-of-{shards}.parquet" for n in range(shards)],
    }[kind]
    contents = {name: rng.bytes(70_000) for name in large}
    contents |= {
        "README.md": _CARD.encode(),
        "json/fi.json": "[ำ]\r\n".encode(),
        "xinst_run.json": rng.bytes(40),
        "manifest.json": b"{}",
        "rejected/fi/part-0.parquet": b"x",
        ".hidden": b"x",
        ".gitattributes": b"*.safetensors filter=lfs\n",
    }
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def _push(folder: pathlib.Path, to: hub.Target, message: str) -> str:
    return hub.push(folder, to, message, left_out=("manifest.json", "rejected/*"))


def _public(folder: pathlib.Path) -> dict[str, bytes]:
    """What the folder holds for others, listed without the code under test."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in ("manifest.json", ".hidden")
        and "rejected" not in path.parts
    }


def _digest(folder: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_folder_arrives_byte_for_byte_in_one_commit(server, tmp_path, kind):
    folder = _folder(tmp_path / "folder", kind)
    before = _digest(folder)
    address = _push(folder, hub.target("org/tiny", kind), "what it is")
    assert server.files == {(kind, "org/tiny"): _public(folder)}
    assert server.private == {(kind, "org/tiny"): True}
    (found,) = server.commits
    assert found[:3] == (kind, "org/tiny", "what it is")
    prefix = "datasets/" if kind == "dataset" else ""
    assert address == f"{server.url}/{prefix}org/tiny"
    assert _digest(folder) == before


def test_a_repeated_push_commits_and_uploads_nothing(server, tmp_path):
    folder, to = _folder(tmp_path / "folder"), hub.target("org/tiny", "model")
    _push(folder, to, "first")
    sent = server.uploads
    _push(folder, to, "second")
    assert len(server.commits) == 1
    assert server.uploads == sent


def test_old_shards_go_in_the_same_commit_and_other_files_stay(server, tmp_path):
    to = hub.target("org/tiny", "dataset")
    _push(_folder(tmp_path / "many", "dataset", shards=3), to, "first")
    server.files["dataset", "org/tiny"]["notes/mine.txt"] = b"by hand"
    few = _folder(tmp_path / "few", "dataset", shards=1)
    _push(few, to, "second")
    expected = _public(few) | {"notes/mine.txt": b"by hand"}
    assert server.files["dataset", "org/tiny"] == expected
    assert len(server.commits) == 2


@pytest.mark.parametrize("endpoint", ["repos/create", "commit/main"])
def test_a_failure_of_the_hub_that_passes_is_tried_again(server, tmp_path, endpoint):
    server.answers[endpoint] = [500, 503]
    folder = _folder(tmp_path / "folder")
    _push(folder, hub.target("org/tiny", "model"), "m")
    assert server.files["model", "org/tiny"] == _public(folder)
    assert len(server.commits) == 1


@pytest.mark.parametrize(
    ("endpoint", "status", "said"),
    [
        ("repos/create", 401, "401.*the token is not valid.*HF_TOKEN"),
        ("repos/create", 403, "403.*may not write"),
        ("repos/create", 404, "404.*no such place"),
        ("commit/main", 409, "409.*changed by somebody else"),
        ("commit/main", 412, "412.*changed by somebody else"),
        ("preupload/main", 403, "403.*may not write"),
        ("objects/batch", 413, "413.*shard_gigabytes"),
    ],
)
def test_a_refusal_is_one_error_and_the_next_push_goes_on(
    server, tmp_path, caplog, capfd, endpoint, status, said
):
    caplog.set_level(logging.DEBUG)
    folder, to = _folder(tmp_path / "folder"), hub.target("org/tiny", "model")
    before = _digest(folder)
    # create_repo asks a second time, about the repository, before it gives up.
    server.answers = {endpoint: [status] * 2, "models/org/tiny": [status]}
    server.message = f"no.\nYour token {server.token} is bad"
    with pytest.raises(UserError, match=f"model org/tiny failed: {server.url}.*{said}"):
        try:
            _push(folder, to, "m")
        except UserError as error:
            assert "\n" not in str(error)
            assert server.token not in str(error)
            raise
    assert not server.commits and _digest(folder) == before
    output = "".join(capfd.readouterr()) + caplog.text
    assert server.token not in output + repr(to)
    uploaded = server.uploads
    server.answers = {}
    _push(folder, to, "m")
    assert server.files["model", "org/tiny"] == _public(folder)
    # What had arrived before the refusal is not sent again.
    assert server.uploads == (uploaded or 2)


def test_a_wrong_token_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_AnotherToken")
    to = hub.target("org/tiny", "model")
    with pytest.raises(UserError, match=r"401.*the token is not valid"):
        _push(_folder(tmp_path / "folder"), to, "m")
    assert not server.files


def test_a_failure_that_lasts_is_given_up(server, tmp_path):
    server.answers["repos/create"] = [502] * 9
    with pytest.raises(UserError, match=r"answered 502.*same command again"):
        _push(_folder(tmp_path / "f"), hub.target("org/tiny", "model"), "m")
    assert server.named("repos/create") == 3


def test_no_hub_and_a_silent_one_are_errors(server, tmp_path, monkeypatch):
    folder, to = _folder(tmp_path / "folder"), hub.target("org/tiny", "model")
    monkeypatch.setattr(hub, "_WAITS", (0.0,))
    monkeypatch.setattr(hub, "_SILENCE", httpx2.Timeout(0.2))
    server.delay = 0.6
    with pytest.raises(UserError, match="has stopped answering"):
        _push(folder, to, "m")
    assert server.named("repos/create") == 2
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 cannot be reached"):
        _push(folder, to, "m")


@pytest.mark.parametrize(
    "name", ["a/b/c", "org/", "/x", "org/a--b", "org/.x", "org/é", "org/x.git", "o g/x"]
)
def test_a_name_that_is_none_is_refused_before_any_request(server, name):
    with pytest.raises(UserError, match="Expected ORG/NAME"):
        hub.target(name, "model")
    assert not server.requests


def test_a_token_in_the_place_of_a_name_is_not_repeated(server):
    with pytest.raises(UserError, match="The token is not given here") as found:
        hub.target(server.token, "model")
    assert server.token not in str(found.value)


def test_the_token_is_the_environments_or_that_of_a_login(
    server, monkeypatch, tmp_path
):
    assert hub.target("org/x", "model").token == server.token
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"no token.*HF_TOKEN.*hf auth login"):
        hub.target("org/x", "model")
    (tmp_path / "no-login").write_text("hf_OfALogin\n")
    assert hub.target("org/x", "model").token == "hf_OfALogin"


def test_a_file_that_cannot_be_read_is_no_failure_of_the_hub(
    server, tmp_path, monkeypatch
):
    folder, to = _folder(tmp_path / "folder"), hub.target("org/tiny", "model")
    gone = folder / "gone.safetensors"
    listed = hub.sent_files(folder) | {"gone.safetensors": gone}
    with monkeypatch.context() as patched:
        patched.setattr(hub, "sent_files", lambda *_: listed)
        with pytest.raises(FileNotFoundError) as found:
            _push(folder, to, "m")
    assert found.value.filename == str(gone) and not server.requests

    def upload(*_args, **_more):
        try:
            gone.open()
        except OSError as error:
            raise RuntimeError("Error while uploading") from error

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", upload)
    with pytest.raises(FileNotFoundError) as found:
        _push(folder, to, "m")
    assert found.value.filename == str(gone)


def test_a_defect_of_ours_is_no_failure_of_the_hub(server, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("ours")

    monkeypatch.setattr(hub, "CommitOperationAdd", broken)
    with pytest.raises(ValueError, match="ours"):
        _push(_folder(tmp_path / "f"), hub.target("org/tiny", "model"), "m")
    assert not server.requests


def test_offline_mode_is_said_before_any_work(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        hub.target("org/x", "model")


@pytest.fixture
def small_graph(monkeypatch):
    """A run whose export and dataset are two files each."""

    def make(workspace, directory):
        (directory.path / "README.md").write_text(_CARD)
        (directory.path / "weights.safetensors").write_bytes(b"12345")
        return Made({})

    graph = [
        Stage(name, verb, {}, (), make)
        for name, verb in (("dataset", "assemble"), ("hf_model", "export-hf"))
    ]
    monkeypatch.setattr(stages, "graph", lambda run: graph)


def _main(workdir: pathlib.Path, verb: str, *more: str) -> int:
    command = [verb, "--workdir", str(workdir)]
    return command_line.main([*command, "--gin_file", "gin/runs/quickstart.gin", *more])


@pytest.mark.parametrize(
    ("verb", "kind"), [("export-hf", "model"), ("assemble", "dataset")]
)
def test_a_verb_pushes_what_it_made_only_if_told_to(
    server, small_graph, tmp_path, capsys, verb, kind
):
    assert _main(tmp_path / "run", verb) == 0
    assert not server.requests
    assert _main(tmp_path / "run", verb, "--push", "org/tiny") == 0
    arrived = server.files[kind, "org/tiny"]
    assert arrived["weights.safetensors"] == b"12345" and "manifest.json" not in arrived
    output = capsys.readouterr().out
    assert "up to date" in output and "org/tiny" in output
    assert server.commits[0][2].startswith("quickstart: ")


def test_a_push_that_cannot_be_is_told_before_the_stage_is_made(
    server, small_graph, tmp_path, capsys, monkeypatch
):
    assert _main(tmp_path / "run", "export-hf", "--push", "nothing") == 2
    monkeypatch.delenv("HF_TOKEN")
    assert _main(tmp_path / "run", "export-hf", "--push", "org/tiny") == 2
    assert capsys.readouterr().err.count("error: --push") == 2
    assert not (tmp_path / "run").exists() and not server.requests


@pytest.mark.parametrize(
    ("folder", "given"),
    [
        ("base", ""),
        ("base", "models/base/1"),
        ("base", "org/base"),
        ("models--org--base/snapshots/1", ""),
    ],
)
def test_an_adapter_is_pushed_only_if_it_names_its_base_as_the_hub_does(
    server, small_graph, tmp_path, capsys, folder, given
):
    status = _main(
        tmp_path / "run",
        "export-hf",
        "--gin.ExportConfig.weights='adapter'",
        f"--gin.ExportConfig.base_name={given!r}",
        f"--gin.RunConfig.base_model={str(tmp_path / folder)!r}",
        "--gin.sft/LoraConfig.rank=2",
        *("--push", "org/tiny"),
    )
    named = given == "org/base" or folder != "base"
    assert status == (0 if named else 2)
    assert bool(server.requests) == (tmp_path / "run").exists() == named
    told = capsys.readouterr().err
    assert ("Set ExportConfig.base_name" in told) != named
    assert named or (given or str(tmp_path / folder)) in told


def test_a_refused_push_leaves_the_stage_finished(
    server, small_graph, tmp_path, capsys
):
    server.answers = {"repos/create": [403], "models/org/tiny": [404]}
    assert _main(tmp_path / "run", "export-hf", "--push", "org/tiny") == 2
    assert "403" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/hf_model/manifest.json").read_bytes())
    assert _main(tmp_path / "run", "export-hf", "--push", "org/tiny") == 0


def test_another_hub_is_named_by_the_environment(tmp_path):
    folder = _folder(tmp_path / "folder")
    code = (
        "import pathlib, sys\nfrom xinst_jax.hf import hub\n"
        "to = hub.target('org/tiny', 'model')\n"
        "left_out = ('manifest.json', 'rejected/*')\n"
        "print(hub.push(pathlib.Path(sys.argv[1]), to, 'm', left_out))"
    )
    with running() as found:
        environment = os.environ | {
            "HF_ENDPOINT": found.url,
            "HF_TOKEN": found.token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert found.files["model", "org/tiny"] == _public(folder)
    assert found.token not in done.stdout + done.stderr


def test_the_stub_knows_what_the_library_asks(server: Hub, tmp_path):
    """The library's own reader sees the files that the stub recorded."""
    _push(_folder(tmp_path / "f"), hub.target("org/tiny", "model"), "m")
    listed = huggingface_hub.HfApi(token=server.token).list_repo_files("org/tiny")
    assert sorted(listed) == sorted(_public(tmp_path / "f"))
