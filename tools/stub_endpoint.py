"""An OpenAI-compatible endpoint that misbehaves on purpose, to test clients against.

python tools/stub_endpoint.py

It answers POST /v1/chat/completions. Requests take the faults of a plan in turn (see
`FAULTS`), so a client that retries gets through. What it says where all is well is made
from the request: a comparison of two answers gets scores, or a verdict, by how many
different words each has, with a preference for the one shown first where they are near;
anything else gets its last line back. It knows nothing, and no figure made with it
says anything about a model. GET /tally says what it was asked and what it answered, to
hold a client's ledger against (tools/audit_endpoints.py).
"""

import argparse
import collections
import http.server
import json
import re
import threading
from typing import Any

FAULTS = {
    "ok": "an answer as asked",
    "429": "status 429 with Retry-After: 0",
    "500": "status 500",
    "timeout": "silence, then a broken connection",
    "malformed": "status 200 with half a JSON record",
    "no_choices": "status 200 with JSON that holds no completion",
    "empty": "an empty completion",
    "prose": "the answer with prose around it",
    "out_of_range": "scores out of range, or no verdict",
    "filtered": "status 400 for a text that is not let through",
    "401": "status 401 that repeats the key sent",
}
PLAN = (
    *("ok", "429", "ok", "500", "prose", "malformed", "ok", "empty", "no_choices"),
    *("ok", "out_of_range", "timeout", "ok"),
)
"""Faults of the script, in turn."""

_ANSWERS = re.compile(r"<answer1>\n(.*)\n</answer1>\n<answer2>\n(.*)\n</answer2>", re.S)


class Stub(http.server.ThreadingHTTPServer):
    """The server, and what it was asked.

    Attributes:
      plan: faults that requests take in turn.
      seen: (fault, body) of every request, in order.
      tokens: (prompt, completion) tokens of every answer that says its usage.
      answered: how many completions were sent that are not empty.
      keys: the Authorization headers.
    """

    daemon_threads = True

    def __init__(self, plan: tuple[str, ...] = ("ok",), port: int = 0, silence=0.5):
        super().__init__(("127.0.0.1", port), _Handler)
        self.plan, self.silence = plan, silence
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.tokens: list[tuple[int, int]] = []
        self.answered = 0
        self.keys: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.released.set()
        self.shutdown()
        self.server_close()

    def enter(self, body: dict[str, Any]) -> str:
        """Notes a request; gives its fault."""
        with self.lock:
            fault = self.plan[len(self.seen) % len(self.plan)]
            self.seen.append((fault, body))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return fault

    def note(self, text: str, tokens: tuple[int, int]) -> None:
        """Notes a completion that is about to be sent whole."""
        with self.lock:
            self.tokens.append(tokens)
            self.answered += bool(text)

    def tally(self) -> dict[str, Any]:
        """What came and what was sent: requests by fault, completions, tokens."""
        with self.lock:
            faults = collections.Counter(fault for fault, _ in self.seen)
            return {
                "requests": dict(sorted(faults.items())),
                "answered": self.answered,
                "prompt_tokens": sum(prompt for prompt, _ in self.tokens),
                "completion_tokens": sum(said for _, said in self.tokens),
            }

    def leave(self) -> None:
        """Notes that a request is answered."""
        with self.lock:
            self._at_once -= 1

    def handle_error(self, request, client_address):
        """Says nothing of clients that went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def do_GET(self):
        self._send(200, json.dumps(self.server.tally()).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "")
        self.server.keys.append(key)
        fault = self.server.enter(body)
        try:
            self._answer(fault, body, key)
        finally:
            self.server.leave()

    def _answer(self, fault: str, body: dict[str, Any], key: str) -> None:
        if fault == "429":
            return self._send(429, b'{"error": "slow down"}', {"Retry-After": "0"})
        if fault == "500":
            return self._send(500, b"<html>broken</html>")
        if fault == "filtered":
            return self._send(400, b'{"error": {"code": "content_filter"}}')
        if fault == "401":
            return self._send(401, f"no such key: {key}".encode())
        if fault == "timeout":
            self.server.released.wait(self.server.silence)
            self.close_connection = True
            return None
        if fault == "no_choices":
            return self._send(200, b'{"object": "error"}')
        text = {"empty": "", "out_of_range": _out_of_range(body)}.get(fault)
        if text is None:
            text = completion(body)
        if fault == "prose":
            text = (
                f"Certainly, here is my assessment.\n{text}\nI hope that helps {key}."
            )
        prompt = sum(len(m["content"].split()) for m in body["messages"])
        tokens = (prompt, len(text.split()))
        record = {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
        }
        content = json.dumps(record).encode()
        if fault == "malformed":
            return self._send(200, content[: len(content) // 2])
        self.server.note(text, tokens)
        return self._send(200, content)

    def _send(self, status: int, content: bytes, headers=()) -> None:
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format, *args):
        """Keeps the terminal quiet."""


def completion(body: dict[str, Any]) -> str:
    """What is said to a request where all is well."""
    asked = body["messages"][-1]["content"]
    found = _ANSWERS.search(asked)
    if not found:
        return asked.strip().splitlines()[-1]
    first, second = (len(set(answer.split())) for answer in found.groups())
    if "<score1>" in asked:
        scores = min(10, first // 4 + 2), min(10, second // 4 + 1)
        return "<score1>{}</score1> <score2>{}</score2>".format(*scores)
    return "[[A]]" if first + 3 >= second else "[[B]]"


def _out_of_range(body: dict[str, Any]) -> str:
    asked = body["messages"][-1]["content"]
    return "<score1>11</score1><score2>3</score2>" if "<score1>" in asked else "[[D]]"


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8377)
    parser.add_argument(
        "--plan", default=",".join(PLAN), help="what requests meet in turn"
    )
    parser.add_argument(
        "--silence", type=float, default=600.0, help="seconds that a timeout lasts"
    )
    options = parser.parse_args()
    plan = tuple(options.plan.split(","))
    if unknown := set(plan) - set(FAULTS):
        parser.error(f"--plan has {', '.join(unknown)}; there is {', '.join(FAULTS)}")
    server = Stub(plan, options.port, silence=options.silence)
    print(f"{server.url} answers, and misbehaves: {', '.join(plan)}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
