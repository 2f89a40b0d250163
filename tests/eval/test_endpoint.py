import json
import threading
import time

import httpx2
import pytest

from tools.stub_endpoint import Stub
from xinst_jax.config.judging import EndpointConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import exchange
from xinst_jax.eval.endpoint import Endpoint, Request
from xinst_jax.eval.ledger import Ledger, LimitReached

KEY = "sk-planted-0123456789abcdef"
PRICES = {
    "usd_per_million_prompt_tokens": 2.5,
    "usd_per_million_completion_tokens": 10.0,
}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", KEY)


def config(stub, **fields):
    given = {"url": stub.url, "model": "stub", "key_variable": "PLANTED_KEY"}
    return EndpointConfig(**{**given, "timeout_seconds": 2.0, **fields})


def endpoint(stub, path, **fields):
    return Endpoint(config(stub, **fields), path, sleep=lambda seconds: None)


def requests(count):
    return [Request((("user", f"Say number {i}"),)) for i in range(count)]


EVERYTHING = (
    *("429", "ok", "500", "timeout", "malformed", "ok", "no_choices", "empty"),
    *("prose", "ok"),
)


def test_a_misbehaving_endpoint_loses_nothing_and_repeats_nothing(tmp_path):
    with Stub(EVERYTHING, silence=0.02) as stub:
        asked = requests(40)
        said = endpoint(stub, tmp_path, attempts=30).complete(asked)
        for number, completion in enumerate(said):
            assert f"Say number {number}" in completion.text.splitlines()
        bodies = [
            body["messages"][0]["content"]
            for fault, body in stub.seen
            if fault in ("ok", "prose")
        ]
        assert sorted(bodies) == sorted(set(bodies))
        before = len(stub.seen)
        assert endpoint(stub, tmp_path).complete(asked) == said
        assert len(stub.seen) == before


def test_silence_is_asked_again_and_counted_as_if_it_had_been_billed(tmp_path):
    with Stub(("timeout", "ok"), silence=5.0) as stub:
        fields = PRICES | {"timeout_seconds": 0.3, "cost_limit_usd": 1.0}
        one = endpoint(stub, tmp_path, **fields)
        most = one.estimate(requests(1)).most
        assert one.complete(requests(1))[0].text == "Say number 0"
        (tokens,) = stub.tokens
        paid = 2500 * tokens[0] + 10000 * tokens[1]
        assert Ledger(tmp_path / "ledger.jsonl", 1.0).spent == most + paid


def test_a_text_that_is_filtered_is_kept_empty_and_stops_no_other(tmp_path):
    with Stub(("ok", "filtered", "ok")) as stub:
        said = endpoint(stub, tmp_path, concurrency=1).complete(requests(3))
        assert [one.text for one in said] == ["Say number 0", "", "Say number 2"]
        assert said[1].finish == "content_filter" and len(stub.seen) == 3


def test_equal_requests_are_sent_once_and_samples_apart(tmp_path):
    with Stub() as stub:
        one = Request((("user", "Sing."),))
        again = Request((("user", "Sing."),), sample=1)
        said = endpoint(stub, tmp_path).complete([one, one, again, one])
        assert len(stub.seen) == 2
        assert said[0] == said[1] == said[3]
        assert said[2].digest != said[0].digest


def test_a_stopped_batch_goes_on_with_what_is_missing(tmp_path):
    with Stub(("ok",) * 5 + ("401",) * 50) as stub:
        with pytest.raises(UserError, match="refuses the request with status 401"):
            endpoint(stub, tmp_path, concurrency=1).complete(requests(12))
        assert len(stub.seen) == 6
    assert len(list(tmp_path.rglob("??/*.json"))) == 5
    with Stub(("ok",) * 3 + ("500",) * 2) as stub:
        path = tmp_path / "other"
        with pytest.raises(UserError, match="failed 2 times"):
            endpoint(stub, path, concurrency=1, attempts=2).complete(requests(6))
        stub.plan = ("ok",)
        before = len(stub.seen)
        said = endpoint(stub, path, concurrency=1).complete(requests(6))
        assert [completion.text for completion in said] == [
            f"Say number {i}" for i in range(6)
        ]
        assert len(stub.seen) - before == 3


def test_the_cost_limit_is_never_passed_and_is_remembered(tmp_path):
    limit = 0.004
    with Stub(("ok", "malformed", "500", "ok")) as stub:
        fields = PRICES | {"cost_limit_usd": limit, "max_tokens": 50}
        with pytest.raises(LimitReached, match=r"cost_limit_usd = 0\.004"):
            endpoint(stub, tmp_path, **fields).complete(requests(100))
        spent = Ledger(tmp_path / "ledger.jsonl", limit).spent
        assert 0.8 * limit * 1e9 < spent <= limit * 1e9
        asked = len(stub.seen)
        with pytest.raises(LimitReached):
            endpoint(stub, tmp_path, **fields).complete(requests(100))
        assert len(stub.seen) == asked


def test_what_is_paid_is_what_the_endpoint_counted(tmp_path):
    with Stub() as stub:
        endpoint(stub, tmp_path, **PRICES, cost_limit_usd=1.0).complete(requests(9))
        expected = sum(2500 * prompt + 10000 * said for prompt, said in stub.tokens)
        assert Ledger(tmp_path / "ledger.jsonl", 1.0).spent == expected
        ledger = [json.loads(t) for t in (tmp_path / "ledger.jsonl").open()]
        assert sum(line.get("paid", 0) for line in ledger) == expected


def test_a_reservation_left_open_by_a_kill_counts_in_full(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path, 1.0)
    first.pay(first.reserve("a", 500), 200)
    first.reserve("b", 700)
    with path.open("a") as file:
        file.write('{"request": "c", "num')
    again = Ledger(path, 1.0)
    assert again.spent == 900
    again.pay(again.reserve("c", 50), 40)
    assert Ledger(path, 1.0).spent == 940


def test_a_reservation_waits_for_payments_before_it_gives_up(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", 1000 / 1e9)
    held = ledger.reserve("a", 900)
    got = []
    waiting = threading.Thread(target=lambda: got.append(ledger.reserve("b", 500)))
    waiting.start()
    time.sleep(0.05)
    assert not got
    ledger.pay(held, 100)
    waiting.join(5)
    assert got
    ledger.pay(got[0], 500)
    with pytest.raises(LimitReached):
        ledger.reserve("c", 401)


def test_a_damaged_ledger_is_refused_and_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        '{"number": 0, "reserved": 5}\nnonsense\n{"number": 0, "paid": 5}\n'
    )
    with pytest.raises(UserError, match="line 2 is damaged"):
        Ledger(path, 1.0)


def test_the_estimate_bounds_the_cost_and_sends_nothing(tmp_path, monkeypatch):
    with Stub() as stub:
        asked = requests(7)
        one = endpoint(stub, tmp_path, **PRICES)
        monkeypatch.delenv("PLANTED_KEY")
        before = one.estimate(asked)
        assert (before.requests, before.kept, len(stub.seen)) == (7, 0, 0)
        assert before.prompt_bytes == sum(len(f"Say number {i}") for i in range(7))
        monkeypatch.setenv("PLANTED_KEY", KEY)
        one.complete(asked)
        assert Ledger(tmp_path / "ledger.jsonl", 0).spent <= before.most
        after = one.estimate(asked)
        assert (after.kept, after.nano, after.most) == (7, 0, 0)


def test_requests_keep_their_pace_and_their_number_at_a_time(tmp_path):
    now, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)

    with Stub() as stub:
        settings = config(stub, requests_per_minute=120, concurrency=3)
        Endpoint(settings, tmp_path, sleep=sleep, clock=lambda: now[0]).complete(
            requests(9)
        )
        assert sorted(waits) == [0.5 * i for i in range(1, 9)]
        assert stub.most_at_once <= 3


def test_the_key_is_sent_and_appears_nowhere_else(tmp_path, caplog, capsys):
    caplog.set_level(0)
    with Stub(("prose", "500", "timeout", "malformed", "401"), silence=0.02) as stub:
        one = endpoint(stub, tmp_path, concurrency=1)
        with pytest.raises(UserError) as caught:
            one.complete(requests(5))
        assert set(stub.keys) == {f"Bearer {KEY}"}
    assert "no such key: Bearer [key]" in str(caught.value)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("helps Bearer [key]" in text for text in written)
    said = [str(caught.value), repr(caught.value), caplog.text, *capsys.readouterr()]
    chained = []
    error = caught.value
    while error is not None:
        chained.append(repr(error))
        error = error.__cause__ or error.__context__
    for text in (*written, *said, *chained, repr(exchange.Key(KEY))):
        assert KEY not in text


def test_a_key_that_is_missing_or_in_the_wrong_place_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("PLANTED_KEY")
    with Stub() as stub:
        with pytest.raises(UserError, match="no PLANTED_KEY"):
            endpoint(stub, tmp_path).complete(requests(1))
        said = endpoint(stub, tmp_path, key_variable="").complete(requests(1))
        assert said[0].text == "Say number 0" and stub.keys == [""]
    for fields in ({"key_variable": KEY}, {"url": f"https://u:{KEY}@host/v1"}):
        with pytest.raises(UserError) as caught:
            EndpointConfig(**{"url": "https://host/v1", "model": "m", **fields})
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "url", "said"),
    [
        (f"{KEY}\n", "https://host/v1", None),
        (f"{KEY}\r", "http://127.0.0.1:8000/v1", None),
        (f"a\n{KEY}", "https://host/v1", "no header takes"),
        (f"{KEY}\u2028", "https://host/v1", None),
        (f"é{KEY}", "https://host/v1", "no header takes"),
        (KEY, "http://host/v1", "unencrypted"),
    ],
)
def test_a_key_that_cannot_be_sent_safely_is_refused_unsaid(
    monkeypatch, value, url, said
):
    monkeypatch.setenv("PLANTED_KEY", value)
    if said is None:
        assert exchange.key_for(url, "PLANTED_KEY") == exchange.Key(KEY)
        return
    with pytest.raises(UserError, match=said) as caught:
        exchange.key_for(url, "PLANTED_KEY")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("before", range(300 - len(KEY) - 8, 301))
def test_no_part_of_a_key_is_shown_wherever_an_error_is_cut(before):
    body = "x" * before + KEY
    transport = httpx2.MockTransport(lambda _: httpx2.Response(401, text=body))
    client = httpx2.Client(transport=transport)
    with client, pytest.raises(UserError) as caught:
        exchange.post(client, "https://host/v1", {}, exchange.Key(KEY))
    assert KEY[:4] not in str(caught.value)


@pytest.mark.parametrize("before", [0, 400])
def test_a_filtered_text_has_no_answer_wherever_the_reply_says_so(before):
    body = json.dumps({"error": {"message": "x" * before, "code": "content_filter"}})
    transport = httpx2.MockTransport(lambda _: httpx2.Response(400, text=body))
    with httpx2.Client(transport=transport) as client:
        reply = exchange.post(client, "https://host/v1", {}, exchange.Key(KEY))
    assert reply == exchange.Reply("", exchange.FILTERED, 0, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"choices": [{"message": {"content": null}}]}', ""),
        (b'{"choices": [{"message": {"content": "hei"}}], "usage": null}', "hei"),
        (b'{"choices": []}', None),
        (b'{"choices": [{"message": {"content": 7}}]}', None),
        (b"[1]", None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_a_body_is_read_as_a_completion_or_refused(content, text):
    if text is None:
        with pytest.raises(exchange.Failure):
            exchange.read(content, exchange.Key(""))
    else:
        assert exchange.read(content, exchange.Key("")).text == text


def test_waits_double_and_honour_what_the_endpoint_asks():
    class Most:
        def uniform(self, low, high):
            return high

    waits = [exchange.backoff(attempt, 0.0, Most()) for attempt in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert exchange.backoff(1, 42.0, Most()) == 42
