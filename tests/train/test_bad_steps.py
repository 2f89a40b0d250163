import json

import numpy as np
import pytest

from xinst_jax.errors import UserError
from xinst_jax.train import bad_steps

NAN = float("nan")
VALUES = {"loss": NAN, "grad_norm": 1.0, "loss_limit": 9.0, "bad_steps": 1.0}


def batch():
    """Three rows: the examples' losses are 1 and 5, 2 and NaN, 9 (and padding)."""
    segment_ids_bt = np.array([[1, 1, 2, 2], [1, 2, 2, 2], [1, 1, 0, 0]])
    weights_bt = np.array([[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]], np.float32)
    losses_bt = np.array([[0, 1, 4, 6], [2, 0, NAN, 1], [8, 10, 0, 0]], np.float32)
    return losses_bt, weights_bt, segment_ids_bt


def origin(step, place):
    names = [["fi/a", "sw/b"], ["fi/c", "th/d#2"], ["fi/e"]][place]
    return 100 * step + place, names


def open_bad_steps(directory, count=0, allowed=0, origin=origin):
    return bad_steps.BadSteps(directory, count, allowed, 3.0, origin)


def test_suspects_are_the_examples_no_number_first_then_the_highest_loss():
    found = bad_steps.suspects(*batch())
    assert [(one.place, one.segment) for one in found] == [
        *((1, 2), (2, 1), (0, 2), (1, 1), (0, 1))
    ]
    assert [one.loss for one in found[1:]] == [9, 5, 2, 1]


def test_a_bad_step_stops_and_names_step_texts_and_checkpoint(tmp_path):
    found = bad_steps.suspects(*batch())
    with pytest.raises(UserError) as error:
        open_bad_steps(tmp_path).take(7, VALUES, found, 6)
    said = str(error.value)
    assert "The loss is nan at step 7 in" in said
    assert "th/d#2 in row 601, loss nan; fi/e in row 602, loss 9.0" in said
    assert "last good checkpoint is of step 6" in said
    assert "--gin.SKIP_BAD_STEPS=1" in said
    (line,) = map(json.loads, (tmp_path / bad_steps.FILE).read_text().splitlines())
    assert line["step"] == 7
    assert line["loss"] == "nan"
    assert [one["example"] for one in line["examples"]] == [
        *("th/d#2", "fi/e", "sw/b", "fi/c", "fi/a")
    ]


def test_as_many_as_are_allowed_are_skipped_and_told(tmp_path):
    found = bad_steps.suspects(*batch())
    bad = open_bad_steps(tmp_path, allowed=2)
    assert "skipped (1 of at most 2)" in bad.take(3, VALUES, found, None)
    high = VALUES | {"loss": 12.0, "bad_steps": 2.0}
    assert "12.0000 at step 5, over 9.0000" in bad.take(5, high, found, None)
    with pytest.raises(UserError, match=r"no checkpoint yet.*SKIP_BAD_STEPS=3"):
        bad.take(8, VALUES | {"bad_steps": 3.0}, found, None)
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / bad_steps.FILE).read_text().splitlines()
    ]
    assert steps == [3, 5, 8]
    # A resume comes by step 5 again.
    open_bad_steps(tmp_path, count=1, allowed=2).take(5, high, found, 4)
    lines = (tmp_path / bad_steps.FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 5]


def test_without_an_origin_an_example_is_told_by_its_place(tmp_path):
    found = bad_steps.suspects(*batch())
    with pytest.raises(UserError, match="example 2 in row 1"):
        open_bad_steps(tmp_path, origin=None).take(7, VALUES, found, None)
