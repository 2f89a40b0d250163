"""Sending a finished folder to the Hugging Face hub: when asked, whole, in one commit.

The token comes from the environment (HF_TOKEN) or from where `hf auth login` keeps it,
and goes nowhere but into the requests; HF_ENDPOINT names another hub. Everything that
is sent is addressed by its content, so a push that failed goes on when it is repeated.
"""

import dataclasses
import fnmatch
import pathlib
import time
from collections.abc import Sequence
from typing import Literal

import httpx2
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from xinst_jax import shards
from xinst_jax.errors import UserError

Kind = Literal["model", "dataset"]

_ATTRIBUTES = ".gitattributes"
_REPLACED: dict[Kind, tuple[str, ...]] = {
    "model": ("*.safetensors", "*.safetensors.index.json", "adapter_config.json"),
    "dataset": ("*/part-*.parquet", "json/*.json"),
}
"""Files whose number depends on what was made: old ones do not outlive a push."""

_WAITS = (2.0, 10.0)
"""Seconds before each repetition of what failed for a reason that may pass."""

_SILENCE = httpx2.Timeout(300.0, connect=30.0)
"""Seconds without a byte after which a connection counts as lost."""

_FAILURES = (httpx2.HTTPError, ConnectionError, RuntimeError, ValueError)
"""What huggingface_hub raises when a request does not succeed.

An answer of the hub and a broken connection are httpx2's errors; an upload's are
wrapped in a RuntimeError, which is hf_xet's own too; an answer that makes no sense, or
that refuses a large file, is a ValueError. Local files' are OSErrors.
"""

_REMOTE = (httpx2.HTTPError, ConnectionError)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_ADVICE = {
    400: "it found a fault in what was sent",
    401: "the token is not valid: make one that may write, and set HF_TOKEN or run "
    "'hf auth login'",
    402: "the account's plan or storage does not allow it",
    403: "the token may not write there: take one with the right to write to that "
    "name, or another name",
    404: "there is no such place: the organisation or user must exist, and the token "
    "must be allowed to see it",
    409: "the repository was changed by somebody else at the same time",
    412: "the repository was changed by somebody else at the same time",
    413: "a file is too large for it; lower ExportConfig.shard_gigabytes",
    429: "too many requests from this account; wait a while",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A repository that a folder goes to, as `target` found it possible.

    Attributes:
      name: ORG/NAME.
      kind: what kind of repository it is.
      token: the hub's access token.
    """

    name: str
    kind: Kind
    token: str = dataclasses.field(repr=False)


def target(name: str, kind: Kind) -> Target:
    """The repository of that name, once name and token are known to be there.

    Asks nothing of the hub.

    Raises:
      UserError: the name is not ORG/NAME, there is no token, or HF_HUB_OFFLINE is set.
    """
    if "/" not in name:
        # Not repeated, since it may be a token that was typed in the wrong place.
        raise UserError(
            "Expected the name of a repository, ORG/NAME, the organisation or user "
            "first. The token is not given here: set HF_TOKEN or run 'hf auth login'."
        )
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"{name!r}: {error} Expected ORG/NAME.") from error
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set. Unset it to push.")
    token = huggingface_hub.get_token()
    if not token:
        raise UserError(
            "There is no token for the hub. Set HF_TOKEN to one that may write to "
            f"{name}, or run 'hf auth login'."
        )
    return Target(name, kind, token)


def is_name(name: str) -> bool:
    """Whether it can be a repository's name, ORG/NAME.

    >>> is_name("org/tiny"), is_name("tiny"), is_name("/models/tiny")
    (True, False, False)
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def push(
    folder: pathlib.Path, to: Target, message: str, left_out: Sequence[str] = ()
) -> str:
    """Sends a folder's files in one commit; gives the address of the repository.

    A repository that does not exist is made, private. Weights, Parquet and JSON files
    of an earlier push that the folder no longer has are removed in the same commit;
    other files of the repository stay. The folder is only read. Where nothing has
    changed there is no commit.

    Args:
      folder: a finished folder.
      to: where it goes.
      message: of the commit.
      left_out: patterns of names that are not sent; see `sent_files`.

    Raises:
      UserError: the hub refused it, failed, or could not be reached.
      OSError: a file of the folder cannot be read.
    """
    files = sent_files(folder, left_out)
    waits = list(_WAITS)
    while True:
        new = [_addition(name, path) for name, path in files.items()]
        try:
            return _sent(new, to, message)
        except _FAILURES as error:
            cause = _cause(error)
            if isinstance(cause, OSError) and not isinstance(cause, _REMOTE):
                raise cause from error
            if not waits or not _may_pass(cause):
                raise _told(error, folder, to) from error
        time.sleep(waits.pop(0))


def sent_files(
    folder: pathlib.Path, left_out: Sequence[str] = ()
) -> dict[str, pathlib.Path]:
    """The files of a folder that are meant for others, by their name in the repository.

    Left out are hidden files except .gitattributes, and names like one of the patterns
    in `left_out`, of which '*' stands for any text.
    """
    files = {
        path.relative_to(folder).as_posix(): path for path in shards.each_file(folder)
    }
    if (folder / _ATTRIBUTES).is_file():
        files[_ATTRIBUTES] = folder / _ATTRIBUTES
    return {name: path for name, path in files.items() if not _like(name, left_out)}


def _like(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _addition(name: str, path: pathlib.Path) -> CommitOperationAdd:
    """A file of the commit; its error is an OSError where it cannot be read."""
    path.stat()
    return CommitOperationAdd(name, str(path))


def _sent(new: list[CommitOperationAdd], to: Target, message: str) -> str:
    """One attempt. All of it can be repeated: what is there already is not sent."""
    huggingface_hub.set_client_factory(_client)
    api = huggingface_hub.HfApi(token=to.token)
    repository = api.create_repo(
        to.name, repo_type=to.kind, private=True, exist_ok=True
    )
    there = api.list_repo_files(to.name, repo_type=to.kind)
    names = {addition.path_in_repo for addition in new}
    old = [
        CommitOperationDelete(name)
        for name in there
        if name not in names and _like(name, _REPLACED[to.kind])
    ]
    # Not `upload_folder`, which may take several commits: until the last one, whoever
    # loads the repository would get half of it.
    api.create_commit(to.name, [*old, *new], commit_message=message, repo_type=to.kind)
    return str(repository)


def _client() -> httpx2.Client:
    """As huggingface_hub's own, which however waits for an answer for ever."""
    return httpx2.Client(follow_redirects=True, timeout=_SILENCE)


def _cause(error: BaseException) -> BaseException:
    """The answer, broken connection or local file that an error comes from, or it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, (httpx2.HTTPError, OSError)):
            return found
        found = found.__cause__
    return error


def _may_pass(cause: BaseException) -> bool:
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in _PASSING
    return isinstance(cause, httpx2.TransportError)


def _told(error: Exception, folder: pathlib.Path, to: Target) -> UserError:
    """What went wrong in one line, without the token."""
    cause = _cause(error)
    hub = constants.ENDPOINT
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        advice = _ADVICE.get(status, "it failed; try again later")
        said = f" ({_line(cause.server_message)})" if cause.server_message else ""
        reason = f"{hub} answered {status}{said}: {advice}"
    elif isinstance(cause, httpx2.TimeoutException):
        reason = f"{hub} has stopped answering; try again later"
    elif isinstance(cause, httpx2.TransportError):
        reason = f"{hub} cannot be reached ({_line(str(cause))}); is there a network?"
    else:
        reason = f"{hub}: {_line(str(cause)) or type(cause).__name__}"
    text = (
        f"Pushing {folder} to the {to.kind} {to.name} failed: {reason}. The folder is "
        "as it was; the same command again goes on."
    )
    return UserError(text.replace(to.token, "<token>"))


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
