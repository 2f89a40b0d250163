"""The audit of a workdir's endpoints holds where all is well, and finds what is not."""

import json

import pytest

from tools.audit_endpoints import audit
from tools.stub_endpoint import PLAN, Stub
from xinst_jax.config.judging import EndpointConfig
from xinst_jax.eval.endpoint import Endpoint, Request

PRICES = (2.5, 10.0)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A workdir whose two endpoints met every fault, and what was sent."""
    monkeypatch.setattr("xinst_jax.eval.exchange.backoff", lambda *_: 0.0)
    with Stub(PLAN, silence=0.02) as stub:
        config = EndpointConfig(
            url=stub.url,
            model="stub",
            key_variable="",
            attempts=40,
            usd_per_million_prompt_tokens=PRICES[0],
            usd_per_million_completion_tokens=PRICES[1],
            cost_limit_usd=1.0,
        )
        for role in ("judge", "opponent"):
            endpoint = Endpoint(config, tmp_path / "completions" / role)
            endpoint.complete(
                [Request((("user", f"{role} {number}"),)) for number in range(25)]
            )
        assert {fault for fault, _ in stub.seen} == set(PLAN)
        return tmp_path, stub.tally()


def failing(workdir, tally, limit=1.0):
    return [what for holds, what in audit(workdir, limit, PRICES, tally) if not holds]


def test_all_claims_hold_of_an_endpoint_that_met_every_fault(asked):
    workdir, tally = asked
    assert tally["answered"] == 50
    assert failing(workdir, tally) == []
    assert len(audit(workdir, 1.0, PRICES, tally)) == 10


def test_a_completion_that_is_lost_is_found(asked):
    workdir, tally = asked
    next((workdir / "completions" / "judge").glob("??/*.json")).unlink()
    (told,) = failing(workdir, tally)
    assert "49 completions with a text are kept of 50 sent" in told


def test_a_payment_made_twice_is_found_and_a_limit_passed(asked):
    workdir, tally = asked
    path = workdir / "completions" / "opponent" / "ledger.jsonl"
    lines = path.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    reserved = {one["number"]: one["reserved"] for one in records if "reserved" in one}
    # One that broke off is paid in full, and is for no answer.
    paid = next(
        line
        for line, one in zip(lines, records, strict=True)
        if 0 < one.get("paid", 0) < reserved[one["number"]]
    )
    path.write_text("\n".join([*lines, paid]) + "\n")
    told = " ".join(failing(workdir, tally, limit=1e-6))
    for words in ("settled, none twice", "spent, the limit is", "the endpoint counts"):
        assert words in told
