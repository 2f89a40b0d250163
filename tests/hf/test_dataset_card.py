"""Dataset cards that the hub's libraries read."""

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xinst_jax.config import DecontaminationConfig
from xinst_jax.hf import dataset_card as cards

LANGUAGES = {"fi": "Finnish", "ur": "Urdu"}


def dataset_card(**changes) -> str:
    settings = {
        "name": "Tiny",
        "languages": LANGUAGES,
        "licences": ["other"],
        "files": "{lang}/part-*.parquet",
        "columns": {"instruction": "in English"},
        "statistics": {
            "fi": cards.lengths(["ab", "abcd"], ["x", "xyz"]),
            "ur": cards.lengths([], []),
        },
        "stages": [("prepare", 1200, 7, {"too short": 1193})],
        "evaluation_sets": ["quiz.jsonl", "exam.jsonl"],
        "contamination": [
            cards.Contamination(
                "quiz", "corpus", {"fi": 1200, "ur": 1}, [("kuka keksi sen", 900)]
            )
        ],
        "rubric": {
            "levels": [["bad", "wrong_language", "A response in another."]],
            "rules": [["too_short", "is short"]],
            "thresholds": {"fi": {"min_score": 0.25, "keep_share": 0.6}},
        },
        "coverage": {
            "fi": {"drawn": 1200, "all": 1300, "asked": 0.15, "applied": 0.15},
            "ur": {"drawn": 2, "all": 2, "asked": 0.15, "applied": 0.5},
        },
        "scores": [cards.Scores(0.0, 0.5, 1100, 3), cards.Scores(0.5, 1.0, 100, 4)],
        "variety": {
            "fi": [
                {
                    "which": "drawn",
                    "rows": 2,
                    "cluster_entropy": None,
                    "nearest_distance": 0.25,
                    "vendi_score": 1.5,
                    "distinct_verb_nouns": 1,
                    "top_verb_share": 0.5,
                }
            ]
        },
        "sources": {"the web (CC BY)": 7},
        "samples": {
            "fi": [cards.Sample("best", 0.9, "Say | hello.", "Hei\n\n</details>vaan.")]
        },
        "lineage": {"run": "tiny"},
        "decontamination": DecontaminationConfig(),
    }
    return cards.dataset_card(**settings | changes)


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


def test_a_dataset_card_has_the_papers_table_and_what_happened_to_rows():
    text = dataset_card()
    assert "| Finnish (fi) | 3.0 ± 1.0 | 2.0 ± 1.0 | 2 |" in text
    assert "| Urdu (ur) | 0.0 ± 0.0 | 0.0 ± 0.0 | 0 |" in text
    assert "| prepare | 1,200 | 7 | too short 1,193 |" in text
    assert "| 0.0 to 0.5 | 1,100 | 3 |" in text
    assert "> Say | hello." in text
    assert "| Finnish (fi) | drawn | 2 | – | 0.250 | 1.5 | 1.0 | 50.0% |" in text


def test_a_dataset_card_has_the_rubric_and_the_clusters_drawn_from():
    text = dataset_card()
    assert "| bad | wrong language | A response in another. |" in text
    assert "| too_short | is short |" in text
    assert "| Finnish (fi) | 0.25 | 60% |" in text
    assert "| Finnish (fi) | 1,200 of 1,300 | 15% |" in text
    assert "| Urdu (ur) | 2 of 2 | 50%, lifted from 15%: too few verbs |" in text


def test_a_dataset_card_says_how_much_of_an_item_was_too_much():
    text = dataset_card(decontamination=DecontaminationConfig(gram_words=13))
    assert "What shared 13 words in a row" in text
    assert "25 letters), had all of a shorter item of 5 words (16 letters)" in text


def test_a_samples_tags_are_shown_and_not_obeyed():
    text = dataset_card()
    assert "Hei &lt;/details&gt;vaan." in text
    assert text.count("</details>") == text.count("<details>") == 1


def test_origins_beyond_fifty_are_counted_together():
    text = dataset_card(sources={f"site {n}": 100 - n for n in range(60)})
    assert "| site 49 | 51 |" in text and "| site 50 |" not in text
    assert f"| 10 others | {sum(range(41, 51))} |" in text


def test_datasets_loads_each_language_and_all_of_them_by_the_card(tmp_path):
    for code, rows in (("fi", 2), ("ur", 3)):
        table = pa.table({"instruction": ["a"] * rows, "output": [code] * rows})
        (tmp_path / code).mkdir()
        pq.write_table(table, tmp_path / code / "part-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text(dataset_card())
    load = {"path": str(tmp_path), "split": "train", "cache_dir": str(tmp_path / "c")}
    assert datasets.load_dataset(**load)["output"][:] == ["fi"] * 2 + ["ur"] * 3
    assert datasets.load_dataset(**load, name="ur")["output"][:] == ["ur"] * 3


def test_a_dataset_card_says_what_the_hub_sorts_datasets_by():
    data = huggingface_hub.DatasetCard(dataset_card(licences=["cc-by-4.0"])).data
    found = data.to_dict()
    assert found["language"] == ["en", "fi", "ur"]
    assert (found["license"], found["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    assert found["multilinguality"] == ["multilingual"]
    assert found["task_categories"] == ["text-generation"]
    assert found["annotations_creators"] == ["machine-generated"]
    assert found["language_creators"] == ["found"]
    assert found["source_datasets"] == ["extended|other"]
    assert found["pretty_name"] == "Tiny"
    assert "cross-lingual" in found["tags"]
    several = huggingface_hub.DatasetCard(dataset_card(licences=["cc0-1.0", "odc-by"]))
    assert several.data.license == ["cc0-1.0", "odc-by"]


@pytest.mark.parametrize(
    ("rows", "category"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (320_000, "100K<n<1M"), (10**7, "n>10M")],
)
def test_the_size_category_is_that_of_all_rows(rows, category):
    statistics = {
        "fi": cards.Lengths(rows // 2, 0, 0, 0, 0),
        "ur": cards.Lengths(rows - rows // 2, 0, 0, 0, 0),
    }
    data = huggingface_hub.DatasetCard(dataset_card(statistics=statistics)).data
    assert data.size_categories == [category]


def test_the_card_tells_what_evaluation_sets_cost():
    text = dataset_card()
    assert "compared with quiz.jsonl; exam.jsonl" in text
    assert "| quiz | corpus | 1,201 | fi 1,200, ur 1 | “kuka keksi sen” 900 |" in text
    assert "Nothing was." in dataset_card(contamination=[])
    assert "with no evaluation set" in dataset_card(
        evaluation_sets=[], contamination=[]
    )
