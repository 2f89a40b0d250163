"""Which processes belong together, by flags, variables, Slurm and TPU hosts."""

import pytest

from xinst_jax import cluster
from xinst_jax.cluster import Cluster
from xinst_jax.errors import UserError

_ALL = {
    cluster.COORDINATOR: "host:1234",
    cluster.COUNT: "4",
    cluster.INDEX: "3",
}


@pytest.fixture(autouse=True)
def no_tpu(monkeypatch):
    monkeypatch.setattr(cluster, "_of_tpu_slice", lambda environment: False)


def test_nothing_said_is_a_single_process():
    assert cluster.find(environment={}) is None


def test_variables_name_the_place():
    assert cluster.find(environment=_ALL) == Cluster("host:1234", 4, 3)


def test_flags_go_before_variables():
    found = cluster.find("[::1]:99", "2", "0", environment=_ALL)
    assert found == Cluster("[::1]:99", 2, 0)


def test_one_process_of_one_is_alone():
    assert cluster.find("host:1", "1", "0", environment={}) is None


@pytest.mark.parametrize("missing", _ALL)
def test_two_of_the_three_are_an_error_that_names_the_third(missing):
    given = {name: value for name, value in _ALL.items() if name != missing}
    with pytest.raises(UserError, match=f"missing: .*{missing}. Give all three"):
        cluster.find(environment=given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({cluster.COORDINATOR: "host"}, "expected host:port"),
        ({cluster.COORDINATOR: ":80"}, "expected host:port"),
        ({cluster.COUNT: "four"}, "must be a number; found 'four'"),
        ({cluster.INDEX: "-1"}, "must be a number; found '-1'"),
        ({cluster.INDEX: "4"}, "process 4 of 4; expected a number from 0 to 3"),
        ({cluster.COUNT: "0"}, "process 3 of 0"),
    ],
)
def test_what_makes_no_sense_is_refused(changed, message):
    with pytest.raises(UserError, match=message):
        cluster.find(environment=_ALL | changed)


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "16"}, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False),
        # A shell in an allocation of many tasks, not started by srun.
        ({"SLURM_NTASKS": "16"}, False),
    ],
)
def test_a_slurm_steps_tasks_find_each_other(variables, several):
    assert cluster.find(environment=variables) == (Cluster() if several else None)


def test_a_tpu_host_asks_jax(monkeypatch):
    monkeypatch.setattr(cluster, "_of_tpu_slice", lambda environment: True)
    assert cluster.find(environment={}) == Cluster()
