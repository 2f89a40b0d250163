"""Translations are asked for once, checked, and end in seed pairs."""

import dataclasses
import http.server
import json
import pathlib
import threading
import time
import zlib

import pytest

from xinst_jax import __main__ as command_line
from xinst_jax import shards
from xinst_jax.config import SeedConfig, TranslateConfig
from xinst_jax.errors import UserError
from xinst_jax.eval.completions import Completion
from xinst_jax.eval.endpoint import Endpoint
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
        self.filtered: set[str] = set()
        self.refuse = threading.Event()
        self.slow = 0.0
        self.unfinished: set[str] = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        text = prompt.split("\n\n", 1)[1]
        self.server.keys.add(self.headers["Authorization"])
        if text in self.server.refused:
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
            self.send_header("Location", f"{self.server.url}/elsewhere")
            self.end_headers()
            return
        self.server.asked.append(prompt)
        if text in self.server.filtered:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b'{"error": {"code": "content_filter"}}')
            return
        finish = "length" if text in self.server.unfinished else "stop"
        said = self.server.answers.get(text, "Hello there.")
        choice = {"message": {"content": said}, "finish_reason": finish}
        content = json.dumps({"choices": [choice]}).encode()
        self.server.refuse.set()
        time.sleep(self.server.slow)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.server.asked.append(self.path)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TEST_TRANSLATE_KEY", KEY)
    monkeypatch.setattr("xinst_jax.eval.exchange.backoff", lambda *_: 0.0)
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


def config(server, path="unused", **settings):
    given = {"url": server.url, "model": "m", "key_variable": "TEST_TRANSLATE_KEY"}
    default = TranslateConfig().endpoint
    endpoint = dataclasses.replace(default, **{**given, **settings})
    return TranslateConfig(path=path, endpoint=endpoint)


def translator(tmp_path, settings):
    return Endpoint(settings.endpoint, tmp_path / "completions")


def texts_of(tmp_path, settings, texts):
    asked = translate.requests(texts, settings, FI)
    return [one.text for one in translator(tmp_path, settings).complete(asked)]


def prepared(tmp_path, server, rows, endpoint=(), **settings):
    path = tmp_path / "en.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"path": f"{tmp_path}/none/{{lang}}.jsonl", **settings}
    translation = config(server, path=str(path), **dict(endpoint))
    seed_config = SeedConfig(translate=translation, max_bad_share=1.0, **settings)
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    stage = StageDirectory(out, "seed", {}, {})
    asked = translator(tmp_path, translation)
    counts = seed.run(stage, seed_config, {"fi": FI}, asked)["fi"]
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
    translation = config(server, path=f"{tmp_path}/en.jsonl")
    seed_config = SeedConfig(path=f"{tmp_path}/fi.jsonl", translate=translation)
    stage = StageDirectory(tmp_path / "out", "seed", {}, {})
    seed.run(stage, seed_config, {"fi": FI}, translator(tmp_path, translation))
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


def test_a_busy_server_is_waited_for_and_answers_come_in_order(tmp_path, server):
    server.answers = {"one": "yksi", "two": "kaksi", "three": "kolme"}
    server.fail = [429, 503, _CUT]
    settings = config(server, concurrency=1)
    assert texts_of(tmp_path, settings, ["one", "two"]) == ["yksi", "kaksi"]
    found = texts_of(tmp_path, config(server), ["three", "one", "two", "one"])
    assert found == ["kolme", "yksi", "kaksi", "yksi"]
    assert len(server.asked) == 3
    # Another prompt, or another model, is another question.
    other = dataclasses.replace(settings, prompt="In {language}:\n\n{text}")
    assert texts_of(tmp_path, other, ["one"]) == ["yksi"]
    assert texts_of(tmp_path, config(server, model="n"), ["one"]) == ["yksi"]
    assert len(server.asked) == 5


def test_a_stage_that_was_stopped_asks_for_what_is_missing(tmp_path, server):
    texts = finnish()[:6]
    server.answers = {english(text): text for text in texts}
    rows = [
        {"id": f"e{n}", "instruction": f"Say {n}.", "output": english(text)}
        for n, text in enumerate(texts)
    ]
    server.refused, one_by_one = {english(texts[3])}, {"concurrency": 1}
    server.refuse.set()
    with pytest.raises(UserError, match="status 401"):
        prepared(tmp_path, server, rows, one_by_one)
    before = len(server.asked)
    server.refused.clear()
    _, kept, _ = prepared(tmp_path, server, rows, one_by_one)
    assert 0 < before < len(server.asked) == len(set(server.asked)) == 6
    assert {row["output"] for row in kept} == set(texts)


def test_what_is_being_answered_when_a_request_fails_is_kept(tmp_path, server):
    """Here 'bad' is refused while 'one' is already paid for and not yet there."""
    server.answers["one"], server.refused, server.slow = "yksi", {"bad"}, 0.3
    settings = config(server, concurrency=2)
    with pytest.raises(UserError, match="status 401"):
        texts_of(tmp_path, settings, ["one", "bad"])
    server.asked.clear()
    assert texts_of(tmp_path, settings, ["one"]) == ["yksi"]
    assert server.asked == []


def test_what_is_filtered_empty_or_cut_is_counted_and_stops_no_other(tmp_path, server):
    texts = finnish()[:4]
    filtered, empty, cut, whole = map(english, texts)
    server.answers = {english(text): text for text in texts} | {empty: " "}
    server.filtered, server.unfinished = {filtered}, {cut}
    rows = [
        {"id": id, "instruction": f"Say {id}.", "output": text}
        for id, text in zip("fecw", (filtered, empty, cut, whole), strict=True)
    ]
    counts, kept, rejected = prepared(tmp_path, server, rows, {"attempts": 3})
    assert [row["id"] for row in kept] == ["w"]
    assert {row["id"]: row["reason"] for row in rejected} == {
        "f": "translation_empty",
        "e": "translation_empty",
        "c": "translation_cut",
    }
    assert counts.dropped == {"translation_empty": 2, "translation_cut": 1}
    assert len(server.asked) == 3 + 3
    assert prepared(tmp_path, server, rows) == (counts, kept, rejected)
    assert len(server.asked) == 3 + 3


def test_the_key_is_not_said_and_not_sent_elsewhere(tmp_path, server):
    for status in (401, 302, 307):
        server.fail = [status]
        with pytest.raises(UserError, match=f"status {status}") as raised:
            texts_of(tmp_path, config(server), ["one"])
        assert KEY not in str(raised.value)
    assert server.asked == []
    with pytest.raises(UserError, match="unencrypted") as raised:
        texts_of(tmp_path, config(server, url="http://example.org/v1"), ["one"])
    assert KEY not in str(raised.value)


def test_the_verb_says_the_cost_and_keeps_what_came_in_the_workdir(
    tmp_path, server, capsys
):
    texts = finnish()[:3]
    server.answers = {english(text): text for text in texts}
    rows = [
        {"instruction": f"Say {n}.", "output": english(text)}
        for n, text in enumerate(texts)
    ]
    path, workdir = tmp_path / "en.jsonl", tmp_path / "run"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "LANGUAGES": ("fi",),
        "TranslateConfig.path": str(path),
        "SeedConfig.path": f"{tmp_path}/none/{{lang}}.jsonl",
        "translator/EndpointConfig.url": server.url,
        "translator/EndpointConfig.model": "m",
        "translator/EndpointConfig.key_variable": "TEST_TRANSLATE_KEY",
        "translator/EndpointConfig.usd_per_million_completion_tokens": 10.0,
        "translator/EndpointConfig.cost_limit_usd": 1.0,
    }
    command = ["seed", "--workdir", str(workdir)]
    command += ["--gin_file", "gin/runs/quickstart.gin"]
    command += [f"--gin.{name}={value!r}" for name, value in given.items()]
    assert command_line.main([*command, "--dry_run"]) == 0
    # 4,096 tokens for $10 a million.
    said = "3 requests, 0 of them answered before"
    assert said in (told := capsys.readouterr().out) and "about $0.1229" in told
    assert server.asked == [] and not (workdir / "seed").exists()
    assert command_line.main(command) == 0
    assert f"translator, fi: {said}" in capsys.readouterr().out
    assert len(shards.read_rows(workdir / "seed" / "fi")) == 3
    kept = workdir / "completions" / "translator"
    assert len(list(kept.glob("??/*.json"))) == 3
    assert (kept / "ledger.jsonl").exists()
    assert command_line.main([*command, "--dry_run"]) == 0
    assert "3 requests, 3 of them answered before" in capsys.readouterr().out


def test_what_comes_back_must_be_whole_and_in_the_language(server):
    text = finnish()[0]
    settings = config(server)

    def reason(answer, source=text, finish="stop"):
        said = Completion("", answer, finish, -1)
        flaw = translate.flaw(source, said, settings, FI)
        return flaw.reason if flaw else ""

    assert reason(text) == ""
    assert reason(text, finish="length") == "translation_cut"
    assert reason("") == "translation_empty"
    swahili = (SAMPLE / "sw.jsonl").read_text("utf-8").splitlines()[0]
    other = json.loads(swahili)["output"]
    assert reason(other, other) == "translation_language"
