"""Raw completions on disk by the digest of their request: paid for once, read for ever.

A file is whole or absent, so that a run killed anywhere asks again only for what it has
not got, and another parse rule or verdict rule costs nothing.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax import shards
from xinst_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Completion:
    """One completion.

    Attributes:
      digest: of its request; the name of its file.
      text: as it came.
      finish: why it ended, as the endpoint said; 'stop' or 'length' as a rule.
      completion_tokens: as the endpoint counted; -1 where it did not say.
    """

    digest: str
    text: str
    finish: str
    completion_tokens: int


def digest(request: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a request: its URL, its body and its sample's number."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Completions:
    """A folder of completions."""

    def __init__(self, directory: pathlib.Path):
        """Names the folder; it is made with the first completion."""
        self._directory = directory

    def get(self, name: str) -> Completion | None:
        """The completion of a request's digest, if it is there.

        Raises:
          UserError: its file is damaged.
        """
        path = self._path(name)
        try:
            record = json.loads(path.read_bytes())
            return Completion(
                name, record["text"], record["finish"], record["completion_tokens"]
            )
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is damaged. Remove it, and its request is sent again."
            ) from error

    def put(self, completion: Completion, request: Mapping[str, Any]) -> None:
        """Keeps a completion, beside the request that it answers."""
        record = {"request": request, **dataclasses.asdict(completion)}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        shards.write_bytes(self._path(completion.digest), text.encode())

    def _path(self, name: str) -> pathlib.Path:
        return self._directory / name[:2] / f"{name}.json"
