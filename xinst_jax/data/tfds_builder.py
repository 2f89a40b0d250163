"""An assembled dataset as the TFDS dataset `x_instruction`."""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN

_TEXTS = ("instruction", "output", "lang", "id", "source", "license")
_NUMBERS = {
    "score": np.float32,
    "cluster": np.int32,
    "weight": np.float32,
    "round": np.int32,
}
_ALL = "all"
_CITATION = """\
@inproceedings{li-etal-2024-x,
  title = "{X}-Instruction: Aligning Language Model in Low-resource Languages with
           Self-curated Cross-lingual Instructions",
  author = "Li, Chong and Yang, Wen and Zhang, Jiajun and Lu, Jinliang and
            Wang, Shaonan and Zong, Chengqing",
  booktitle = "Findings of the Association for Computational Linguistics: ACL 2024",
  year = "2024",
}"""


class XInstruction(tfds.core.GeneratorBasedBuilder):
    """English instructions with responses in other languages: one config a language.

    The config 'all' has every language of the dataset. To build it, give the finished
    `dataset` directory of a run, and the format that seqio's TfdsDataSource reads:

        builder = XInstruction(
            dataset="runs/quickstart/dataset",
            config="fi",
            data_dir="tfds",
            file_format="tfrecord",
        )
        builder.download_and_prepare()

    After that, `tfds.load("x_instruction/fi", data_dir="tfds", split="train")`.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (as TFDS declares it)
        tfds.core.BuilderConfig(name=_ALL, description="Every language."),
        *(
            tfds.core.BuilderConfig(name=code, description=language.name)
            for code, language in BUILT_IN.items()
        ),
    ]

    def __init__(self, *, dataset: str | pathlib.Path = "", **kwargs: Any):
        """Names what to build from; what is already built is read without.

        Args:
          dataset: a finished `dataset` directory: a folder of Parquet shards a
            language.
          **kwargs: as for every TFDS builder: config, data_dir, file_format. A config
            that is not listed is a language code of the directory's own.
        """
        self._dataset = pathlib.Path(dataset) if dataset else None
        config = kwargs.get("config")
        if isinstance(config, str) and config not in self.builder_configs:
            kwargs["config"] = tfds.core.BuilderConfig(name=config)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {name: tfds.features.Text() for name in _TEXTS}
        features |= {n: tfds.features.Scalar(kind) for n, kind in _NUMBERS.items()}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("instruction", "output"),
            citation=_CITATION,
            description="English instructions with responses in other languages.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._dataset is None:
            raise UserError(
                "x_instruction is built from a run's dataset: give XInstruction the "
                "argument dataset=DIRECTORY."
            )
        for code in self._codes(self._dataset):
            for path in shards.shard_paths(self._dataset / code):
                for row in pq.read_table(path).to_pylist():
                    fields = {name: row[name] or "" for name in _TEXTS}
                    fields |= {name: row[name] for name in _NUMBERS}
                    yield f"{code}/{row['id']}", fields

    def _codes(self, dataset: pathlib.Path) -> list[str]:
        name = self.builder_config.name
        if name != _ALL:
            return [name]
        return sorted(path.parent.name for path in dataset.glob("*/part-00000-*"))
