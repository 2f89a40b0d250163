"""Cards that the hub's own libraries read."""

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xinst_jax.hf import cards

LANGUAGES = {"fi": "Finnish", "ur": "Urdu"}


def dataset_card(**changes) -> str:
    settings = {
        "name": "Tiny",
        "languages": LANGUAGES,
        "license": "other",
        "files": "{lang}/part-*.parquet",
        "statistics": {
            "fi": cards.lengths(["ab", "abcd"], ["x", "xyz"]),
            "ur": cards.lengths([], []),
        },
        "stages": [("prepare", 1200, 7, {"too short": 1193})],
        "sources": {"the web (CC BY)": 7},
        "samples": {"fi": ("Say | hello.", "Hei\n\nvaan.")},
    }
    return cards.dataset_card(**settings | changes)


def model_card(**changes) -> str:
    settings = {
        "name": "Tiny",
        "languages": LANGUAGES,
        "license": "apache-2.0",
        "base_model": "",
        "datasets": [],
        "rows": {"fi": 1234},
        "prompt": "### Instruction:\n{instruction}",
        "figures": {"held-out loss": "2.31"},
    }
    return cards.model_card(**settings | changes)


def test_lengths_are_means_and_deviations_over_all_pairs():
    rng = np.random.default_rng(0)
    asked, answered = rng.integers(1, 90, (2, 50))
    found = cards.lengths(["i" * n for n in asked], ["ö" * n for n in answered])
    np.testing.assert_allclose(
        [found.instruction_mean, found.instruction_sd], [asked.mean(), asked.std()]
    )
    np.testing.assert_allclose(
        [found.output_mean, found.output_sd], [answered.mean(), answered.std()]
    )
    assert found.rows == 50


def test_a_dataset_card_has_the_papers_table():
    text = dataset_card()
    assert "| Finnish (fi) | 3.0 ± 1.0 | 2.0 ± 1.0 | 2 |" in text
    assert "| Urdu (ur) | 0.0 ± 0.0 | 0.0 ± 0.0 | 0 |" in text
    assert "| prepare | 1,200 | 7 | too short 1,193 |" in text
    assert "> Say | hello." in text


def test_datasets_loads_each_language_and_all_of_them_by_the_card(tmp_path):
    for code, rows in (("fi", 2), ("ur", 3)):
        table = pa.table({"instruction": ["a"] * rows, "output": [code] * rows})
        (tmp_path / code).mkdir()
        pq.write_table(table, tmp_path / code / "part-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text(dataset_card())
    load = {"path": str(tmp_path), "split": "train", "cache_dir": str(tmp_path / "c")}
    assert datasets.load_dataset(**load)["output"][:] == ["fi"] * 2 + ["ur"] * 3
    assert datasets.load_dataset(**load, name="ur")["output"][:] == ["ur"] * 3


def test_a_dataset_card_names_languages_licence_and_size():
    data = huggingface_hub.DatasetCard(dataset_card(license="cc-by-4.0")).data
    assert data.language == ["en", "fi", "ur"]
    assert (data.license, data.size_categories) == ("cc-by-4.0", ["n<1K"])


def test_a_model_card_names_its_base_only_if_it_has_one():
    data = huggingface_hub.ModelCard(model_card()).data
    assert (data.language, data.license) == (["en", "fi", "ur"], "apache-2.0")
    assert data.library_name == "transformers"
    assert data.base_model is None
    assert "trained from scratch" in model_card()
    tuned = model_card(base_model="org/base", datasets=["org/data"])
    data = huggingface_hub.ModelCard(tuned).data
    assert (data.base_model, data.datasets) == ("org/base", ["org/data"])
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert "| Finnish | 1,234 |" in tuned
    assert "| held-out loss | 2.31 |" in tuned


def test_an_adapters_card_says_what_it_is_laid_over_and_how():
    text = model_card(base_model="org/base", adapter=True)
    data = huggingface_hub.ModelCard(text).data
    assert (data.library_name, data.base_model) == ("peft", "org/base")
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert 'AutoPeftModelForCausalLM.from_pretrained("PATH")' in text
    assert "peft" not in model_card(base_model="org/base")


def test_a_llama_3_licence_brings_its_notice():
    assert "Built with Meta Llama 3" in model_card(license="llama3")
    assert "Built with Meta Llama 3" not in model_card()
