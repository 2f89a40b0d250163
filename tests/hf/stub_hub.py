"""A hub on 127.0.0.1: the endpoints that a push calls, and what arrived at them."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator

_TOKEN = "hf_TheRightOneOfTheStub"
_LFS = (".safetensors", ".parquet", "tokenizer.json")
_REPO = r"/(?:api/)?(models/|datasets/)?([\w.-]+/[\w.-]+?)"


class Hub:
    """One hub with its repositories.

    Attributes:
      requests: method and path of every request, in order.
      files: contents by path, by (kind, repository).
      commits: (kind, repository, message, paths written) of every commit.
      private: whether a repository was made so.
      answers: statuses to give instead, in turn, by the name of an endpoint.
      delay: seconds that every answer takes.
    """

    token = _TOKEN

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.commits: list[tuple[str, str, str, list[str]]] = []
        self.private: dict[tuple[str, str], bool] = {}
        self.answers: dict[str, list[int]] = {}
        self.message = ""
        self.delay = 0.0
        self.objects: dict[str, bytes] = {}
        self.url = ""

    def named(self, endpoint: str) -> int:
        """How often an endpoint was asked."""
        return sum(endpoint in path for _, path in self.requests)

    @property
    def uploads(self) -> int:
        """How many large files were received."""
        return sum(path.startswith("/lfs/") for _, path in self.requests)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Status and JSON of one request."""
        if path.startswith("/lfs/"):
            self.objects[path.removeprefix("/lfs/")] = body
            return 200, {}
        if path == "/verify":
            wanted = json.loads(body)
            content = self.objects[wanted["oid"]]
            assert len(content) == wanted["size"]
            assert hashlib.sha256(content).hexdigest() == wanted["oid"]
            return 200, {}
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        return self._of_repository(method, path, body)

    def _create(self, asked: dict) -> tuple[int, object]:
        kind = asked.get("type", "model")
        key = kind, f"{asked['organization']}/{asked['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.url}/{prefix}{key[1]}"}
        if key in self.files:
            return 409, answer
        self.files[key] = {".gitattributes": b"*.parquet filter=lfs\n"}
        self.private[key] = asked.get("visibility") == "private"
        return 200, answer

    def _of_repository(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        match = re.fullmatch(
            _REPO + r"(?:\.git/info/lfs/objects/(batch)|/(tree|preupload|commit|"
            r"revision)/main)?",
            path,
        )
        assert match, f"{method} {path}"
        kind = "dataset" if match[1] == "datasets/" else "model"
        key, act = (kind, match[2]), match[3] or match[4]
        if key not in self.files:
            return 404, {"error": "no such repository"}
        files = self.files[key]
        if act == "tree":
            return 200, [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
        if act == "preupload":
            asked = json.loads(body)["files"]
            return 200, {"files": [self._mode(files, file["path"]) for file in asked]}
        if act == "batch":
            asked = json.loads(body)["objects"]
            return 200, {"objects": [self._transfer(entry) for entry in asked]}
        if act == "commit":
            return 200, self._commit(key, body)
        return 200, {"id": key[1], "sha": "a" * 40, "siblings": []}

    def _mode(self, files: dict[str, bytes], path: str) -> dict:
        large = path.endswith(_LFS)
        entry = {"path": path, "uploadMode": "lfs" if large else "regular"}
        entry["shouldIgnore"] = False
        if path in files:
            content = files[path]
            blob = b"blob %d\0" % len(content) + content
            entry["oid"] = (
                hashlib.sha256(content).hexdigest()
                if large
                else hashlib.sha1(blob).hexdigest()
            )
        return entry

    def _transfer(self, entry: dict) -> dict:
        if entry["oid"] in self.objects:
            return entry
        upload = {"href": f"{self.url}/lfs/{entry['oid']}"}
        return entry | {
            "actions": {"upload": upload, "verify": {"href": f"{self.url}/verify"}}
        }

    def _commit(self, key: tuple[str, str], body: bytes) -> dict:
        files = self.files[key]
        header, *operations = [json.loads(line) for line in body.splitlines()]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            else:
                assert operation["key"] == "deletedFile"
                del files[value["path"]]
        paths = [operation["value"]["path"] for operation in operations]
        self.commits.append((*key, header["value"]["summary"], sorted(paths)))
        return {"commitUrl": f"{self.url}/{key[1]}/commit/1", "commitOid": "a" * 40}


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers at `hub.url` while the block runs."""
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            path = urllib.parse.urlsplit(self.path).path
            hub.requests.append((self.command, path))
            time.sleep(hub.delay)
            status, answer = self._status(path), {"error": hub.message}
            if status == 200:
                status, answer = hub.answer(self.command, path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

        def _status(self, path: str) -> int:
            known = self.headers.get("Authorization") == f"Bearer {hub.token}"
            if not known and not path.startswith("/lfs/"):
                return 401
            for endpoint, statuses in hub.answers.items():
                if path.endswith(endpoint) and statuses:
                    return statuses.pop(0)
            return 200

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, *_: object) -> None:
            """Says nothing: the requests are kept."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
