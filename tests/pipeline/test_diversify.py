"""What is drawn from the clusters, and with which weights."""

import collections
import dataclasses
import hashlib
import json
import math
import pathlib

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.decomposition

from xinst_jax import shards
from xinst_jax.config import DiversifyConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import StageDirectory
from xinst_jax.mesh import make_mesh
from xinst_jax.pipeline import diversify
from xinst_jax.pipeline.diversity import figures
from xinst_jax.pipeline.diversity.draw import near_duplicates, priority

CONFIG = DiversifyConfig(clusters=4, per_cluster=5, near_duplicate_cosine=0.999)
CANDIDATES = pa.schema(
    {"id": pa.string(), "instruction": pa.string(), "output": pa.string()}
)
RATINGS = pa.schema({"id": pa.string(), "score": pa.float32(), "kept": pa.bool_()})


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def vector(text: str) -> np.ndarray:
    """Near the centre that the text's first letter names."""
    centre = np.eye(8)["abcdefgh".index(text[0])]
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return centre + 0.08 * np.random.default_rng(number).normal(size=8)


@pytest.fixture
def stub_encoder(monkeypatch):
    def embed(encoder, texts, mesh, batch_rows):
        return unit(np.array([vector(text) for text in texts]).reshape(-1, 8))

    monkeypatch.setattr(diversify.encoder_lib, "load_encoder", lambda source: None)
    monkeypatch.setattr(diversify.encoder_lib, "embed", embed)


def write_round(path: pathlib.Path, rows: list[dict], language: str = "fi") -> None:
    shards.write_shards(path / "candidates" / language, rows, CANDIDATES, 7)
    shards.write_shards(path / "ratings" / language, rows, RATINGS, 11)


def rows_of(sizes: dict[str, int]) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"{letter}{number:03d}",
            "instruction": f"{letter} {number}",
            "output": "x",
            "score": float(rng.uniform(0.1, 1)),
            "kept": True,
        }
        for letter, size in sizes.items()
        for number in range(size)
    ]


def run(path: pathlib.Path, config=CONFIG, mesh=None, seed: int = 0):
    counts = diversify.run(
        StageDirectory(path / "diverse", "diverse", {}, {}),
        config,
        ["fi"],
        path / "ratings",
        path / "candidates",
        mesh or one_device(),
        seed,
    )
    return counts["fi"], {
        row["id"]: row for row in shards.read_rows(path / "diverse/fi")
    }


def clusters(path: pathlib.Path) -> list[dict]:
    return pq.read_table(path / "diverse/clusters/fi.parquet").to_pylist()


def test_every_cluster_gives_the_same_number_or_all_it_has(stub_encoder, tmp_path):
    sizes = {"a": 40, "b": 20, "c": 12, "d": 3}
    write_round(tmp_path, rows_of(sizes))
    counts, found = run(tmp_path)
    drawn = collections.Counter(
        name[0] for name, row in found.items() if row["selected"]
    )
    assert drawn == {"a": 5, "b": 5, "c": 5, "d": 3}
    letters = collections.defaultdict(set)
    for name, row in found.items():
        letters[row["cluster"]].add(name[0])
    assert letters == {0: {"a"}, 1: {"b"}, 2: {"c"}, 3: {"d"}}
    assert (counts.rows_in, counts.rows_out) == (75, 18)
    assert counts.dropped == {"cluster_full": 57}
    assert list(found) == sorted(found)


def test_every_cluster_has_the_same_weight_and_the_mean_is_one(stub_encoder, tmp_path):
    write_round(tmp_path, rows_of({"a": 40, "b": 20, "c": 12, "d": 3}))
    _, found = run(tmp_path)
    total = collections.Counter()
    for row in found.values():
        assert (row["weight"] > 0) == row["selected"]
        total[row["cluster"]] += row["weight"]
    np.testing.assert_allclose(list(total.values()), [18 / 4] * 4, rtol=1e-6)


def test_what_was_not_kept_is_not_there(stub_encoder, tmp_path):
    rows = rows_of({"a": 10, "b": 10})
    for row in rows[::2]:
        row["kept"] = False
    write_round(tmp_path, rows)
    counts, found = run(tmp_path)
    assert set(found) == {row["id"] for row in rows[1::2]}
    assert counts.rows_in == 10


def test_the_order_of_rows_and_the_devices_change_nothing(stub_encoder, tmp_path):
    rows = rows_of({"a": 30, "b": 30, "c": 9, "e": 9})
    write_round(tmp_path / "one", rows)
    write_round(tmp_path / "two", rows[::-1])
    run(tmp_path / "one")
    run(tmp_path / "two", mesh=make_mesh(MeshConfig(fsdp=4, tensor=2)))
    _, one = run(tmp_path / "one")
    _, two = run(tmp_path / "two")
    assert [row["selected"] for row in one.values()] == [
        row["selected"] for row in two.values()
    ]
    assert {name: row["cluster"] for name, row in one.items()} == {
        name: row["cluster"] for name, row in two.items()
    }


def test_equal_inputs_give_equal_bytes_and_another_seed_another_draw(
    stub_encoder, tmp_path
):
    rows = rows_of({"a": 30, "b": 30})
    contents = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        write_round(tmp_path / name, rows)
        run(tmp_path / name, seed=seed)
        files = shards.each_file(tmp_path / name / "diverse")
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_a_finished_language_is_counted_but_not_redone(
    stub_encoder, tmp_path, monkeypatch
):
    write_round(tmp_path, rows_of({"a": 30, "b": 9}))
    counts, found = run(tmp_path)

    def refuse(*_):
        raise AssertionError("embedded again")

    monkeypatch.setattr(diversify.encoder_lib, "embed", refuse)
    assert run(tmp_path) == (counts, found)


@pytest.mark.parametrize(
    ("rows", "drawn", "kinds"),
    [
        ([], 0, 0),
        (rows_of({"a": 1}), 1, 1),
        (rows_of({"a": 2, "b": 1}), 3, 1),
        ([row | {"instruction": "a same"} for row in rows_of({"a": 9})], 1, 1),
    ],
    ids=["none", "one", "fewer than clusters", "identical"],
)
def test_few_or_identical_rows_are_no_trouble(
    stub_encoder, tmp_path, rows, drawn, kinds
):
    write_round(tmp_path, rows)
    counts, found = run(tmp_path)
    assert len(found) == counts.rows_in == len(rows)
    assert counts.rows_out == drawn
    assert len(clusters(tmp_path)) == counts.notes["clusters"] == kinds
    assert sum(counts.dropped.values()) == len(rows) - drawn
    table = pq.read_table(tmp_path / "diverse/map/fi.parquet")
    assert table.num_rows == len(rows)
    assert np.isfinite(table["x"].to_numpy()).all()


def test_a_summary_names_the_instruction_nearest_to_the_centre(stub_encoder, tmp_path):
    rows = rows_of({"a": 20, "b": 10})
    write_round(tmp_path, rows)
    _, found = run(tmp_path, dataclasses.replace(CONFIG, clusters=2))
    places = pq.read_table(tmp_path / "diverse/map/fi.parquet").to_pylist()
    at = {row["id"]: (row["x"], row["y"]) for row in places}
    for summary in clusters(tmp_path):
        members = [n for n, r in found.items() if r["cluster"] == summary["cluster"]]
        nearest = min(members, key=lambda name: found[name]["distance"])
        assert summary["nearest_id"] == nearest
        assert summary["nearest_instruction"] == f"{nearest[0]} {int(nearest[1:])}"
        assert summary["size"] == len(members)
        mean = np.mean([at[name] for name in members], axis=0)
        np.testing.assert_allclose([summary["x"], summary["y"]], mean, atol=1e-5)


def test_the_draw_is_in_proportion_to_score():
    scores = {"w": 0.1, "x": 0.2, "y": 0.3, "z": 0.4}
    first = collections.Counter(
        max(scores, key=lambda name: priority(str(seed), name, scores[name]))
        for seed in range(4000)
    )
    for name, score in scores.items():
        spread = math.sqrt(score * (1 - score) / 4000)
        assert abs(first[name] / 4000 - score) < 4 * spread


def test_a_score_of_zero_can_be_drawn_when_nothing_else_is_left():
    assert math.isfinite(priority("0", "x", 0.0))


def angle(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("scores", "duplicate"),
    [
        ([0.1, 0.9, 0.2], [True, False, True]),
        ([0.8, 0.1, 0.9], [False, True, False]),
        ([0.9, 0.5, 0.1], [False, True, False]),
        ([0.5, 0.5, 0.5], [False, True, False]),
    ],
)
def test_the_better_scored_of_near_duplicates_stays(scores, duplicate):
    vectors_me = angle(0, 16, 32)
    found = near_duplicates(vectors_me, np.array(scores), 0.95)
    assert found.tolist() == duplicate


def test_near_duplicates_are_not_drawn(stub_encoder, tmp_path):
    rows = rows_of({"a": 6, "b": 6})
    for row in rows[:3]:
        row["instruction"] = "a the same"
    rows[1]["score"] = 1.0
    write_round(tmp_path, rows)
    counts, found = run(tmp_path, dataclasses.replace(CONFIG, per_cluster=9))
    assert [found[f"a00{n}"]["selected"] for n in range(3)] == [False, True, False]
    assert counts.dropped == {"near_duplicate": 2}


def test_what_is_too_much_of_a_verb_gives_way_and_is_counted(stub_encoder, tmp_path):
    rows = rows_of({"d": 20, "e": 5, "c": 5})
    verbs = {"d": "describe", "e": "explain", "c": "compare"}
    for row in rows:
        verb = verbs[row["instruction"][0]]
        row["instruction"] = f"{verb} the lake number {row['id'][1:]}"
    write_round(tmp_path, rows)
    config = dataclasses.replace(CONFIG, clusters=3, per_cluster=9)
    counts, found = run(tmp_path, config)
    drawn = collections.Counter(
        name[0] for name, row in found.items() if row["selected"]
    )
    # Three verbs cannot be below 15%: each has a third.
    assert drawn == {"d": 5, "e": 5, "c": 5}
    assert counts.dropped == {"over_verb_share": 4, "cluster_full": 11}
    assert counts.notes["verb_share_lifted_to"] == 0.3333
    drawn_from = sum(row["selected"] > 0 for row in clusters(tmp_path))
    assert counts.notes["clusters_drawn_from"] == drawn_from
    reasons = collections.Counter(row["reason"] for row in found.values())
    assert reasons == {"": 15, **counts.dropped}
    path = tmp_path / "diverse" / figures.FILE.format(lang="fi")
    measured = json.loads(path.read_bytes())
    assert measured["drawn"]["rows"] == 15
    assert measured["drawn"]["top_verb_share"] == pytest.approx(1 / 3)
    assert measured["kept"]["top_verb"] == "describe"
    assert measured["verb_cap"] == {"asked": 0.15, "applied": pytest.approx(1 / 3)}
    assert counts.notes["vendi_score"] == round(measured["drawn"]["vendi_score"], 4)
    assert sum(row["over_verb_share"] for row in clusters(tmp_path)) == 4


def test_weights_in_place_of_a_selection_leave_nothing_out(stub_encoder, tmp_path):
    write_round(tmp_path, rows_of({"a": 30, "b": 10}))
    config = dataclasses.replace(CONFIG, clusters=2, selection="weights")
    counts, found = run(tmp_path, config)
    assert counts.rows_out == 40 and not counts.dropped
    total = collections.Counter()
    for name, row in found.items():
        total[name[0]] += row["weight"]
    np.testing.assert_allclose([total["a"], total["b"]], [20, 20], rtol=1e-5)
    path = tmp_path / "diverse" / figures.FILE.format(lang="fi")
    measured = json.loads(path.read_bytes())
    assert measured["drawn"]["cluster_entropy"] == pytest.approx(1, abs=1e-6)
    assert measured["kept"]["cluster_entropy"] < 0.9


def test_the_map_is_scikit_learns_principal_components():
    vectors_ne = unit(np.random.default_rng(2).normal(size=(60, 9)) * np.arange(1, 10))
    ours_n2 = diversify.plane(vectors_ne)
    theirs_n2 = sklearn.decomposition.PCA(2).fit_transform(vectors_ne)
    signs_2 = np.sign((ours_n2 * theirs_n2).sum(0))
    np.testing.assert_allclose(ours_n2, theirs_n2 * signs_2, atol=1e-5)
    np.testing.assert_array_equal(diversify.plane(vectors_ne[::-1])[::-1], ours_n2)


def test_real_instructions_on_one_subject_share_a_cluster(tmp_path):
    texts = [
        "Explain how to cook rice in coconut milk.",
        "Give me a recipe for fried rice.",
        "How do I boil rice without a rice cooker?",
        "Write a dinner recipe with rice and beans.",
        "Who won the football match yesterday?",
        "Describe the rules of football.",
        "Name three famous football players.",
        "Report on the final of the football cup.",
    ]
    rows = [
        {"id": str(n), "instruction": text, "output": "x", "score": 0.5, "kept": True}
        for n, text in enumerate(texts)
    ]
    write_round(tmp_path, rows)
    _, found = run(tmp_path, DiversifyConfig(clusters=2, per_cluster=3, batch_rows=8))
    cluster = [found[str(number)]["cluster"] for number in range(8)]
    assert len(set(cluster[:4])) == len(set(cluster[4:])) == 1
    assert cluster[0] != cluster[4]
    assert sum(row["selected"] for row in found.values()) == 6


def test_a_missing_input_is_named_before_anything_is_written(stub_encoder, tmp_path):
    with pytest.raises(UserError, match="ratings"):
        run(tmp_path)
    assert not (tmp_path / "diverse").exists()
