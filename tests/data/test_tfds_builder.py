"""The TFDS dataset is built and read offline, and a corpus can be one."""

import numpy as np
import pyarrow as pa
import pytest
import seqio
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import file_utils

from xinst_jax import shards
from xinst_jax.data import raw_rows, sources
from xinst_jax.data.tfds_builder import XInstruction
from xinst_jax.errors import UserError

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("instruction", "output", "lang", "id")),
        ("score", pa.float32()),
        ("cluster", pa.int32()),
        ("weight", pa.float32()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("round", pa.int32()),
    ]
)


class TinyWeb(tfds.core.GeneratorBasedBuilder):
    """A corpus that someone has as a TFDS dataset."""

    VERSION = tfds.core.Version("2.1.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=code) for code in ("fi", "th")]
    ROWS = 50

    def _info(self):
        features = {
            "body": tfds.features.Text(),
            "number": tfds.features.Scalar(np.int64),
            "url": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(self.ROWS),
            "test": self._generate_examples(3),
        }

    def _generate_examples(self, count):
        code = self.builder_config.name
        for index in range(count):
            body = f"ที่ {index}" if code == "th" else f"Päivä {index}"
            yield index, {"body": body, "number": index, "url": f"x/{index}"}


class OneSplitEach(tfds.core.GeneratorBasedBuilder):
    """Laid out as TFDS has mC4, c4/multilingual: splits by language, no train."""

    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="multilingual")]
    ROWS = {"fi": 20, "fi-validation": 4, "th": 30, "th-validation": 5}

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in self.ROWS}

    def _generate_examples(self, name):
        for index in range(self.ROWS[name]):
            yield index, {"text": f"{name} {index}"}


def rows(code, count):
    return [
        {
            "instruction": f"Say {index} in {code}.",
            "output": f"Päivää हिन्दी {index}\n\nக",
            "lang": code,
            "id": f"{code}-{index}#1",
            "score": index / count,
            "cluster": index % 3,
            "weight": 1.5,
            "source": "sample",
            "license": None,
            "round": 2,
        }
        for index in range(count)
    ]


@pytest.fixture
def dataset(tmp_path):
    for code, count in (("fi", 9), ("sw", 4)):
        shards.write_shards(tmp_path / "dataset" / code, rows(code, count), SCHEMA, 5)
    (tmp_path / "dataset" / "README.md").write_text("card")
    return tmp_path / "dataset"


def text(example):
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in example.items()
    }


@pytest.mark.parametrize("config", ["fi", "all"])
def test_what_is_built_is_the_dataset(tmp_path, dataset, config):
    builder = XInstruction(
        dataset=dataset, config=config, data_dir=tmp_path, file_format="tfrecord"
    )
    builder.download_and_prepare()
    read = tfds.load(f"x_instruction/{config}", data_dir=tmp_path, split="train")
    expected = rows("fi", 9) + (rows("sw", 4) if config == "all" else [])
    found = {row["id"]: row for row in map(text, read.as_numpy_iterator())}
    assert set(found) == {row["id"] for row in expected}
    for row in expected:
        for name, value in (row | {"license": ""}).items():
            assert found[row["id"]][name] == pytest.approx(value)


def test_seqio_reads_it(tmp_path, dataset):
    builder = XInstruction(
        dataset=dataset, config="sw", data_dir=tmp_path, file_format="tfrecord"
    )
    builder.download_and_prepare()
    source = seqio.TfdsDataSource("x_instruction/sw:1.0.0", tfds_data_dir=str(tmp_path))
    assert source.num_input_examples("train") == 4
    found = {
        row["output"].decode()
        for row in source.get_dataset("train", shuffle=False).as_numpy_iterator()
    }
    assert found == {row["output"] for row in rows("sw", 4)}


def test_without_a_directory_it_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match="dataset=DIRECTORY"):
        XInstruction(config="fi", data_dir=tmp_path).download_and_prepare()


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder that TFDS looks for datasets in."""
    folder = tmp_path / "tfds"
    monkeypatch.setattr(file_utils, "_REGISTERED_DATA_DIRS", set())
    tfds.core.add_data_dir(folder)
    return folder


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_corpus_given_by_tfds_name_is_read(prepared, file_format):
    TinyWeb(
        config="th", data_dir=prepared, file_format=file_format
    ).download_and_prepare()
    path = "tfds:tiny_web/{lang}:2.1.0"
    sources.preflight(path, "th", [["body"]])
    read = list(sources.read(path, "th"))
    assert sorted(row.fields["number"] for row in read) == list(range(TinyWeb.ROWS))
    for number, row in enumerate(read, 1):
        assert row.fields["body"] == f"ที่ {row.fields['number']}"
        assert raw_rows.label(row, "url") == f"x/{row.fields['number']}"
        assert row.place == f"tfds:tiny_web/th:2.1.0:{number}"
    assert read == list(sources.read(path, "th"))
    assert list(sources.digests(path, "th")) == ["tfds:tiny_web/th:2.1.0"]
    with pytest.raises(UserError, match="found fields body, number, url"):
        sources.preflight(path, "th", [["text"]])


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_of_a_dataset_with_a_split_a_language_that_split_is_read(prepared, file_format):
    OneSplitEach(data_dir=prepared, file_format=file_format).download_and_prepare()
    name = "tfds:one_split_each/multilingual"

    def texts(path, code):
        return sorted(row.fields["text"] for row in sources.read(path, code))

    for code in ("fi", "th"):
        count = OneSplitEach.ROWS[code]
        sources.preflight(f"{name}[{{lang}}]", code, [["text"]])
        expected = sorted(f"{code} {index}" for index in range(count))
        assert texts(f"{name}[{{lang}}]", code) == expected
    (first, *_) = sources.read(f"{name}:3.0.0[{{lang}}]", "th")
    assert first.place == f"{name}:3.0.0[th]:1"
    sliced = texts(f"{name}[{{lang}}[:25%]+{{lang}}-validation]", "fi")
    assert len(sliced) == 5 + 4
    assert [text for text in sliced if text.startswith("fi-validation ")] == [
        f"fi-validation {index}" for index in range(4)
    ]
    digests = [
        *sources.digests(f"{name}[{{lang}}]", "fi").values(),
        *sources.digests(f"{name}[{{lang}}]", "th").values(),
        *sources.digests(f"{name}[{{lang}}[:5]]", "th").values(),
    ]
    assert len(set(digests)) == 3
    splits = "fi, fi-validation, th, th-validation"
    for wrong, split in (("", "train"), ("[sw]", "sw"), ("[fi[:x]]", "fi[:x]")):
        with pytest.raises(UserError, match=f"no split '.*it has {splits}") as caught:
            sources.preflight(name + wrong, "fi", [["text"]])
        assert repr(split) in str(caught.value)
    with pytest.raises(UserError, match=r"\[fi' is no name of a TFDS dataset"):
        sources.digests(f"{name}[fi", "fi")


def test_a_dataset_that_is_not_prepared_is_an_error(prepared):
    with pytest.raises(UserError, match=r"'tiny_web/fi' is not prepared"):
        sources.preflight("tfds:tiny_web/{lang}", "fi", [["body"]])
    with pytest.raises(UserError, match=r"Unknown TFDS dataset 'tiny_web/xx'"):
        sources.preflight("tfds:tiny_web/{lang}", "xx", [["body"]])
