"""What the files beside a tokenizer say of its tokens is read in their order."""

import json

import pytest

from xinst_jax.errors import UserError
from xinst_jax.hf import special_tokens

IDS = {"<s>": 1, "</s>": 2, "<pad>": 3, "<turn>": 4, "<img>": 5}


def read(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return special_tokens.read(folder / "tokenizer.json", IDS.get)


def test_nothing_is_said_where_there_is_no_file(tmp_path):
    said = read(tmp_path)
    assert said == special_tokens.SaidTokens(None, None, (), None, None, frozenset())


def test_names_come_before_ids_and_the_config_before_the_map(tmp_path):
    said = read(
        tmp_path,
        tokenizer_config={
            "eos_token": {"__type": "AddedToken", "content": "</s>"},
            "pad_token": None,
            "add_bos_token": False,
        },
        special_tokens_map={"eos_token": "<turn>", "bos_token": {"content": "<s>"}},
        generation_config={"eos_token_id": [4, 2], "pad_token_id": 0},
        config={"eos_token_id": 9, "pad_token_id": 3, "bos_token_id": 7},
    )
    assert (said.bos, said.adds_bos, said.pad, said.unk) == (1, False, 0, None)
    assert said.stops == (2, 4)
    assert said.special == {"</s>", "<turn>", "<s>"}


def test_a_models_own_stop_ids_count_only_with_the_named_one_among_them(tmp_path):
    said = read(
        tmp_path,
        tokenizer_config={"eos_token": "</s>"},
        config={"eos_token_id": [4, 2]},
    )
    assert said.stops == (2, 4)
    assert read(tmp_path, config={"eos_token_id": 4}).stops == (2,)
    (tmp_path / "tokenizer_config.json").unlink()
    assert read(tmp_path).stops == (4,)


def test_ids_that_only_the_text_half_of_a_config_has_are_read_there(tmp_path):
    text = {"eos_token_id": [4, 2], "pad_token_id": 3}
    named = {"tokenizer_config": {"eos_token": "</s>"}}
    said = read(tmp_path, config={"model_type": "gemma3", "text_config": text}, **named)
    assert (said.stops, said.pad) == ((2, 4), 3)
    whole = {"eos_token_id": [2, 5], "pad_token_id": None, "text_config": text}
    said = read(tmp_path, config=whole)
    assert (said.stops, said.pad) == ((2, 5), 3)


@pytest.mark.parametrize("extra", [["<img>"], {"image_token": "<img>"}])
def test_special_are_named_listed_and_decoded_tokens(extra, tmp_path):
    said = read(
        tmp_path,
        tokenizer_config={
            "extra_special_tokens": extra,
            "additional_special_tokens": ["<turn>"],
            "added_tokens_decoder": {
                "3": {"content": "<pad>", "special": True},
                "6": {"content": "<table>", "special": False},
            },
        },
    )
    assert said.special == {"<img>", "<turn>", "<pad>"}


def test_a_damaged_file_and_an_unknown_token_are_named(tmp_path):
    (tmp_path / "special_tokens_map.json").write_text("{")
    with pytest.raises(UserError, match=r"special_tokens_map\.json is not JSON"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"names '<end>' as eos_token.*not in"):
        read(tmp_path, special_tokens_map={"eos_token": "<end>"})
