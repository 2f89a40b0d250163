"""The search compiles what may fit and orders what does."""

import dataclasses
import types

import pytest
from jax.sharding import AbstractMesh

from xinst_jax.aot import build, report, search, topology
from xinst_jax.aot.report import Memory, Report
from xinst_jax.aot.roofline import Roofline
from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import AXES
from xinst_jax.models import presets

MODEL = presets.published("llama_3_8b")
TRAIN = TrainConfig(length=2048, global_batch=128)


def layout(name="v5e-64", **train):
    return build.Layout(
        MODEL,
        dataclasses.replace(TRAIN, **train),
        MeshConfig(),
        topology.parse(name),
    )


def test_candidates_divide_over_the_chips():
    found = list(search.candidates(layout()))
    for candidate in found:
        mesh, train = candidate.mesh, candidate.train
        assert mesh.fsdp * mesh.tensor * mesh.sequence == 64
        assert train.global_batch % (train.microbatches * mesh.fsdp) == 0
        assert MODEL.num_kv_heads % mesh.tensor == 0
    meshes = {dataclasses.astuple(candidate.mesh) for candidate in found}
    assert {(1, 64, 1, 1), (1, 32, 1, 2), (1, 16, 4, 1)} <= meshes


def test_a_single_chip_has_layouts_too():
    alone = dataclasses.replace(layout("v5e:1x1"), model=presets.tiny())
    found = search.ranked(alone)
    assert found[0].promising and found[0].seconds > 0
    assert {dataclasses.astuple(one.layout.mesh) for one in found} == {(1, 1, 1, 1)}


def test_estimates_tell_what_cannot_fit():
    whole = build.Layout(
        dataclasses.replace(MODEL, remat="none"),
        TRAIN,
        MeshConfig(1, 4, 1, 1),
        topology.parse("v5e-4"),
    )
    # Parameters, moments and gradients of 8 billion weights alone are 128 GB.
    assert search.estimate(whole).memory > 2 * 16e9
    full = dataclasses.replace(layout(), model=dataclasses.replace(MODEL, remat="full"))
    assert search.estimate(full).memory < 16e9


def test_what_is_computed_again_takes_time():
    def seconds(remat):
        model = dataclasses.replace(MODEL, remat=remat)
        return search.estimate(
            dataclasses.replace(layout("v5p-64"), model=model)
        ).seconds

    # Offloading keeps what attention's products gave, and no other.
    assert seconds("none") == seconds("minimal") < seconds("offload") < seconds("full")


def test_of_layouts_as_fast_the_one_with_least_behind_what_binds_comes_first():
    best, *rest = search.ranked(layout("v5p-64"))
    as_fast = [one for one in rest if one.promising and one.seconds == best.seconds]
    assert as_fast and best.apart <= min(one.apart for one in as_fast)
    assert best.layout.train.microbatches == 1


def reported(chosen, least):
    """What compiling a layout gives: the least seconds of a step, or None."""
    return Report(
        topology=chosen.topology,
        mesh={"slice": 1, "fsdp": 64, "sequence": 1, "tensor": 1},
        remat=chosen.model.remat,
        train=chosen.train,
        memory=None if least is None else Memory(1, 1, 1),
        needed=20 * 2**30,
        model_flops=(1.0, 1.0),
        executed=1.0,
        moved=1.0,
        exchanges=(),
        roofline=None if least is None else Roofline(least, 0.0, 0.0, 0.0),
    )


def test_what_fits_comes_back_best_first(monkeypatch):
    seconds = iter((3.0, None, 1.0, 2.0))

    def compiled(chosen):
        return reported(chosen, next(seconds))

    monkeypatch.setattr(search, "report", compiled)
    said = []
    found = search.search(layout(), 4, said.append)
    assert [made.roofline.seconds for _, made in found] == [1.0, 2.0, 3.0]
    assert "does not fit, by 4.25 GiB" in "\n".join(said)


def test_estimates_are_raised_by_what_a_layout_needed_in_excess(monkeypatch):
    estimate = search.estimate(layout())
    room = layout().topology.chip.hbm_bytes
    shares = {0.8: 1.3, 0.9: None, 0.5: 0.6}  # estimated: needed; None: not compiled
    candidates = [
        dataclasses.replace(estimate, memory=share * room) for share in shares
    ]
    needed = iter([share for share in shares.values() if share])

    def compiled(chosen):
        return dataclasses.replace(reported(chosen, None), needed=next(needed) * room)

    monkeypatch.setattr(search, "report", compiled)
    said = []
    tried = list(search.tried(candidates, 3, said.append))
    assert [one for one, _ in tried] == [candidates[0], candidates[2]]
    assert len(said) == 2


def test_a_batch_that_no_layout_divides_is_an_error():
    with pytest.raises(UserError, match="global_batch"):
        search.search(layout(global_batch=3), 1, print)
    with pytest.raises(UserError, match="fake devices"):
        search.search(layout("cpu:8"), 1, print)


@pytest.mark.parametrize(("temporaries", "fits"), [(4, True), (12, False)])
def test_what_the_compiler_lets_pass_must_still_fit(monkeypatch, temporaries, fits):
    """Some programs are compiled whose own memory analysis is beyond the chip's."""
    stats = types.SimpleNamespace(
        argument_size_in_bytes=6 * 2**30,
        temp_size_in_bytes=temporaries * 2**30,
        output_size_in_bytes=0,
        alias_size_in_bytes=0,
        generated_code_size_in_bytes=0,
    )
    entry = "ENTRY %main (x: f32[2]) -> f32[2] {\n  ROOT %x = f32[2]{0} parameter(0)\n}"
    compiled = types.SimpleNamespace(
        memory_analysis=lambda: stats, as_text=lambda: f"HloModule m\n\n{entry}\n"
    )
    chosen, mesh = layout(), AbstractMesh((1, 64, 1, 1), AXES)
    monkeypatch.setattr(build.Layout, "devices_mesh", lambda _: mesh)
    made = types.SimpleNamespace(compiled=compiled, mesh=mesh, flops=1.0)
    monkeypatch.setattr(report, "build", lambda _: made)
    found = report.report(chosen)
    assert found.fits is fits
    assert found.needed == (6 + temporaries) * 2**30
    assert ("DOES NOT FIT" in "\n".join(report.lines(found, []))) is not fits
