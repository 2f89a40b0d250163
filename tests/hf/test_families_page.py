"""docs/families.md says of every family what the tests found."""

import re

import numpy as np
import pytest
import safetensors.numpy
import transformers

from tests.hf.tiny_models import FAMILIES
from tools import families_table
from xinst_jax.hf import config as config_lib


def page_cells() -> dict[str, list[str]]:
    text = families_table.PAGE.read_text()
    inside = text.split(families_table.START)[1].split(families_table.END)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in inside.strip().splitlines()
    ]
    assert rows[0][1:] == list(families_table.COLUMNS)
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_page_has_every_family_and_no_cell_without_a_yes():
    cells = page_cells()
    assert list(cells) == [family.title for family in FAMILIES.values()]
    for title, row in cells.items():
        assert row == ["yes"] * len(families_table.COLUMNS), title


@pytest.mark.parametrize(
    ("outcomes", "cell"),
    [({"passed"}, "yes"), ({"passed", "failed"}, "failed, passed"), (set(), "")],
)
def test_a_cell_is_yes_only_where_all_its_tests_passed(outcomes, cell):
    found = {("llama2", "export"): outcomes}
    lines = families_table.table({"llama2": "Llama 2"}, found).splitlines()
    column = 1 + families_table.COLUMNS.index("export")
    assert lines[2].strip("|").split("|")[column].strip() == cell


def test_the_pages_lines_save_the_language_model_of_a_gemma_3_with_vision(tmp_path):
    text = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4
    )
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(whole)
    (code,) = re.findall(r"```python\n(.*?)```", families_table.PAGE.read_text(), re.S)
    code = code.replace('"gemma-3-4b-it-text"', repr(str(alone)))
    exec(code.replace('"gemma-3-4b-it"', repr(str(whole))), {})
    assert config_lib.read(alone).family == "gemma3_text"
    expected = safetensors.numpy.load_file(whole / "model.safetensors")
    found = safetensors.numpy.load_file(alone / "model.safetensors")
    assert len(found) == sum(name.startswith("language_model.") for name in expected)
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, expected[f"language_model.{name}"])
