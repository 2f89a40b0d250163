"""Datasets that `datasets` itself has saved are read as it reads them."""

import datasets
import pytest

from xinst_jax.data import sources
from xinst_jax.errors import UserError

ROWS = [{"id": f"r{n}", "text": f"Hyvää päivää {n}.", "n": n} for n in range(700)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders: 'plain', three files drawn anew; 'train' and 'other', of splits."""
    folder = tmp_path_factory.mktemp("saved")
    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_list(ROWS)
    whole.shuffle(seed=7).save_to_disk(folder / "plain", num_shards=3)
    few = whole.select(range(5))
    datasets.DatasetDict({"test": few, "train": whole}).save_to_disk(folder / "train")
    datasets.DatasetDict({"b": whole, "a": few}).save_to_disk(folder / "other")
    datasets.enable_progress_bars()
    return folder


def _read(path) -> list[dict]:
    return [row.fields for row in sources.read(str(path), "fi")]


def test_a_saved_dataset_gives_its_rows_in_its_order(saved):
    sources.preflight(f"{saved}/plain", "fi", [["text"]])
    assert _read(saved / "plain") == datasets.load_from_disk(saved / "plain").to_list()
    places = [row.place for row in sources.read(f"{saved}/plain", "fi")]
    assert places[0] == f"{saved}/plain/data-00000-of-00003.arrow:1"
    assert len(set(places)) == 700


def test_of_splits_train_is_read_or_all_where_there_is_none(saved):
    assert _read(saved / "train") == ROWS
    assert _read(saved / "other") == [*ROWS[:5], *ROWS]
    assert _read(saved / "trai?") == ROWS


def test_a_saved_dataset_that_is_cut_or_incomplete_is_told(saved, tmp_path):
    whole = tmp_path / "fi"
    datasets.Dataset.from_list(ROWS).save_to_disk(whole)
    (file,) = whole.glob("*.arrow")
    content = file.read_bytes()
    file.write_bytes(content[:-900])
    with pytest.raises(UserError, match=r"data-00000-of-00001\.arrow cannot be read"):
        _read(whole)
    file.write_bytes(b"no Arrow at all")
    with pytest.raises(UserError, match=r"data-00000-of-00001\.arrow cannot be read"):
        sources.preflight(f"{whole}", "fi", [["text"]])
    file.unlink()
    with pytest.raises(UserError, match=r"data-00000-of-00001\.arrow cannot be read"):
        _read(whole)
    state = whole / "state.json"
    for content, told in (("{", "as JSON"), ("{}", "_data_files")):
        state.write_text(content)
        with pytest.raises(UserError, match=rf"state\.json.*{told}"):
            _read(whole)
