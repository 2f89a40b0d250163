"""Translations are asked for once, checked, and end in seed pairs."""

import dataclasses
import http.server
import json
import pathlib
import threading
import time
import zlib

import pytest

from xinst_jax import shards
from xinst_jax.config import SeedConfig, TranslateConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import seed, translate

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "seed"
FI = BUILT_IN["fi"]
KEY = "sk-secret-of-a-test"
_CUT = 0
"""In place of a status: a body that breaks off."""


class Server(http.server.ThreadingHTTPServer):
    """Answers with the Finnish of known English, and keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        self.keys: set[str | None] = set()
        self.fail: list[int] = []
        self.refused: set[str] = set()
        self.refuse = threading.Event()
        self.slow = 0.0
        self.finish = "stop"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        self.server.keys.add(self.headers["Authorization"])
        if prompt.split("\n\n", 1)[1] in self.server.refused:
            self.server.refuse.wait(10)
            self.server.fail = [401]
        if self.server.fail == [_CUT]:
            self.server.fail.clear()
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": ')
            return
        if self.server.fail:
            self.send_response(self.server.fail.pop(0))
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            return
        self.server.asked.append(prompt)
        text = self.server.answers.get(prompt.split("\n\n", 1)[1], "Hello there.")
        choice = {"message": {"content": text}, "finish_reason": self.server.finish}
        content = json.dumps({"choices": [choice]}).encode()
        self.server.refuse.set()
        time.sleep(self.server.slow)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_TRANSLATE_KEY", KEY)
    monkeypatch.setattr(translate, "_FIRST_WAIT_SECONDS", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def finnish():
    lines = (SAMPLE / "fi.jsonl").read_text("utf-8").splitlines()
    return [row["output"] for row in map(json.loads, lines)]


def english(text):
    """As long as the Finnish, so that the ratio of lengths is one."""
    return f"In English {zlib.crc32(text.encode())} ".ljust(len(text) - 1, "x") + "."


def config(server, **settings):
    default = TranslateConfig(
        path="unused", url=server.url, model="m", key_variable="TEST_TRANSLATE_KEY"
    )
    return dataclasses.replace(default, **settings)


def prepared(tmp_path, server, rows, **settings):
    path = tmp_path / "en.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"path": f"{tmp_path}/none/{{lang}}.jsonl", **settings}
    seed_config = SeedConfig(
        translate=config(server, path=str(path)), max_bad_share=1.0, **settings
    )
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    stage = StageDirectory(out, "seed", {}, {})
    counts = seed.run(stage, seed_config, {"fi": FI}, tmp_path / "translations")["fi"]
    rejected = shards.read_rows(out / "rejected" / "fi")
    return counts, shards.read_rows(out / "fi"), rejected


def test_translated_pairs_are_checked_and_asked_for_once(tmp_path, server):
    texts = finnish()[:5]
    server.answers = {english(text): text for text in texts[:3]}
    server.answers[english(texts[3])] = texts[3][:20] + "."
    rows = [
        {"id": f"e{n}", "instruction": f"Say {n}.", "output": english(text)}
        for n, text in enumerate(texts)
    ]
    rows += [{"id": "i", "instruction": "Sum up.", "input": "A.", "output": "B."}]
    counts, kept, rejected = prepared(tmp_path, server, rows)
    assert {row["output"] for row in kept} == set(texts[:3])
    assert counts.rows_in == 6 and counts.notes["translated"] == 3
    reasons = {row["id"]: row["reason"] for row in rejected}
    # The fifth comes back as English, and too short for its source.
    assert reasons == {
        "e3": "translation_length",
        "e4": "translation_length",
        "i": "needs_input",
    }
    assert len(server.asked) == 5 and "into Finnish." in server.asked[0]
    again = prepared(tmp_path, server, rows)
    assert again == (counts, kept, rejected) and len(server.asked) == 5
    assert server.keys == {f"Bearer {KEY}"}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not any(KEY.encode() in file.read_bytes() for file in files)


def test_translated_pairs_have_ids_that_given_ones_do_not(tmp_path, server):
    texts = finnish()[:6]
    server.answers = {english(text): text for text in texts[3:]}
    rows = [
        {"instruction": f"Say {n}.", "output": text} for n, text in enumerate(texts)
    ]
    given = [row | {"id": id} for row, id in zip(rows, ("e", "e", "e~2"), strict=False)]
    english_rows = [
        {"id": "e", "instruction": row["instruction"], "output": english(row["output"])}
        for row in rows[3:]
    ]
    for name, written in (("fi", given), ("en", english_rows)):
        text = "".join(json.dumps(row) + "\n" for row in written)
        (tmp_path / f"{name}.jsonl").write_text(text)
    seed_config = SeedConfig(
        path=f"{tmp_path}/fi.jsonl",
        translate=config(server, path=f"{tmp_path}/en.jsonl"),
    )
    stage = StageDirectory(tmp_path / "out", "seed", {}, {})
    seed.run(stage, seed_config, {"fi": FI}, tmp_path / "translations")
    ids = [row["id"] for row in shards.read_rows(tmp_path / "out" / "fi")]
    assert len(ids) == 6 and set(ids) == {*("e", "e~2", "e~2~1"), "e~3", "e~4", "e~5"}


def test_what_is_asked_in_the_language_itself_is_counted_and_not_translated(
    tmp_path, server
):
    texts = finnish()[:3]
    server.answers = {english(text): text for text in texts}
    own = {"id": "own", "instruction": "say 1.", "output": texts[0]}
    (tmp_path / "fi.jsonl").write_text(json.dumps(own) + "\n")
    rows = [
        {"id": f"e{n}", "instruction": f"Say {n}.", "output": english(text)}
        for n, text in enumerate(texts)
    ]
    given = f"{tmp_path}/fi.jsonl"
    counts, kept, rejected = prepared(tmp_path, server, rows, path=given)
    assert {row["id"] for row in kept} == {"own", "e0", "e2"}
    (row,) = rejected
    assert (row["id"], row["reason"], row["value"]) == ("e1", "already_asked", "by own")
    assert counts.rows_in == 4 and counts.dropped == {"already_asked": 1}
    assert len(server.asked) == 2


def test_no_more_is_translated_than_there_is_room_for(tmp_path, server):
    texts = finnish()
    server.answers = {english(text): text for text in texts}
    rows = [
        {"id": f"e{n}", "instruction": f"Say {n}.", "output": english(text)}
        for n, text in enumerate(texts)
    ]
    counts, kept, rejected = prepared(tmp_path, server, rows, max_pairs=4)
    assert len(kept) == 4 and len(server.asked) == 4
    left = len(rows) - 4
    assert counts.rows_in == len(rows) and counts.dropped == {"over_max_pairs": left}
    assert {row["value"] for row in rejected} == {str(len(rows))}
    ids = {row["id"] for row in rejected} | {row["id"] for row in kept}
    assert ids == {row["id"] for row in rows}


def test_a_busy_server_is_waited_for_and_a_torn_cache_read(tmp_path, server):
    cache = tmp_path / "answers.jsonl"
    server.answers = {"one": "yksi", "two": "kaksi", "three": "kolme"}
    server.fail = [429, 503]
    endpoint = translate.Endpoint(config(server, concurrency=1), cache)
    assert [a.text for _, a in endpoint.translate(["one", "two"], FI)] == [
        "yksi",
        "kaksi",
    ]
    cache.write_bytes(cache.read_bytes()[:-9])
    endpoint = translate.Endpoint(config(server, concurrency=1), cache)
    found = [a.text for _, a in endpoint.translate(["one", "two", "three", "one"], FI)]
    assert found == ["yksi", "kaksi", "kolme", "yksi"]
    # One was known, one torn, one new.
    assert len(server.asked) == 4
    again = translate.Endpoint(config(server), cache)
    assert [a.text for _, a in again.translate(["three"], FI)] == ["kolme"]
    assert len(server.asked) == 4


def test_an_answer_that_breaks_off_is_asked_for_again(tmp_path, server):
    server.answers["one"], server.fail = "yksi", [_CUT]
    endpoint = translate.Endpoint(config(server), tmp_path / "answers.jsonl")
    assert [a.text for _, a in endpoint.translate(["one"], FI)] == ["yksi"]


def test_what_is_being_answered_when_a_request_fails_is_kept(tmp_path, server):
    """Here 'bad' is refused while 'one' is already paid for and not yet there."""
    server.answers["one"], server.refused, server.slow = "yksi", {"bad"}, 0.3
    settings = config(server, concurrency=2)
    endpoint = translate.Endpoint(settings, tmp_path / "answers.jsonl")
    with pytest.raises(UserError, match="status 401"):
        list(endpoint.translate(["one", "bad"], FI))
    server.asked.clear()
    again = translate.Endpoint(settings, tmp_path / "answers.jsonl")
    assert [a.text for _, a in again.translate(["one"], FI)] == ["yksi"]
    assert server.asked == []


def test_the_key_is_not_said_and_not_sent_elsewhere(tmp_path, server):
    for status in (401, 302):
        server.fail = [status]
        endpoint = translate.Endpoint(config(server), tmp_path / "answers.jsonl")
        with pytest.raises(UserError, match=f"status {status}") as raised:
            list(endpoint.translate(["one"], FI))
        assert KEY not in str(raised.value)
    with pytest.raises(UserError, match="unencrypted") as raised:
        open_address = config(server, url="http://example.org/v1")
        translate.Endpoint(open_address, tmp_path / "answers.jsonl")
    assert KEY not in str(raised.value)


def test_what_comes_back_must_be_whole_and_in_the_language(server):
    text = finnish()[0]
    settings = config(server)

    def reason(answer, source=text):
        flaw = translate.flaw(source, answer, settings, FI)
        return flaw.reason if flaw else ""

    assert reason(translate.Answer(text, True)) == ""
    assert reason(translate.Answer(text, False)) == "translation_cut"
    assert reason(translate.Answer("", True)) == "translation_empty"
    swahili = (SAMPLE / "sw.jsonl").read_text("utf-8").splitlines()[0]
    other = json.loads(swahili)["output"]
    assert reason(translate.Answer(other, True), other) == "translation_language"
