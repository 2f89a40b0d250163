"""What a base model's folder says of its licence."""

import json

import pytest
import transformers

from xinst_jax.hf import licences
from xinst_jax.hf.licences import Licence

_LLAMA_3 = "META LLAMA 3 COMMUNITY LICENSE AGREEMENT\nMeta Llama 3 Version Release Date"
_TEXTS = {
    "llama2": "LLAMA 2 COMMUNITY LICENSE AGREEMENT\t\nLlama 2 Version Release Date",
    "llama3": _LLAMA_3,
    "llama3.1": "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n Llama 3.1 Version Release",
    "llama3.2": "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release",
    "gemma": "Gemma Terms of Use\n\nLast modified: April 1, 2024",
    "apache-2.0": "             Apache License\n        Version 2.0, January 2004",
    "mit": "MIT License\n\nCopyright (c) 2024",
}


@pytest.mark.parametrize("licence", sorted(_TEXTS))
@pytest.mark.parametrize("file", ["LICENSE", "LICENSE.txt"])
def test_a_licence_is_known_by_its_text(tmp_path, licence, file):
    (tmp_path / file).write_text(_TEXTS[licence] + "\n" + "word " * 9000)
    assert licences.of_base(tmp_path) == Licence(licence)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen RESEARCH LICENSE AGREEMENT", "qwen-research"),
        ("Tongyi Qianwen LICENSE AGREEMENT", "tongyi-qianwen"),
        ("Tongyi Qianwen RESEARCH LICENSE AGREEMENT", "tongyi-qianwen-research"),
        ("Qwen LICENSE AGREEMENT", "qwen"),
    ],
)
def test_a_licence_that_the_hub_has_no_identifier_for_keeps_its_name(
    tmp_path, text, name
):
    (tmp_path / "LICENSE").write_text(text)
    assert licences.of_base(tmp_path) == Licence("other", name, "LICENSE")


def test_the_card_is_asked_first_then_the_text_then_the_family(tmp_path):
    config = transformers.GemmaConfig().to_dict()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert licences.of_base(tmp_path) == Licence("gemma")
    (tmp_path / "LICENSE").write_text(_LLAMA_3)
    assert licences.of_base(tmp_path) == Licence("llama3")
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# x")
    assert licences.of_base(tmp_path) == Licence("cc-by-nc-4.0")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: [mit]\n---\n", Licence("mit")),
        (
            "---\nlicense: other\nlicense_name: deal\nlicense_link: https://x.example\n"
            "---\n",
            Licence("other", "deal", "https://x.example"),
        ),
        ("---\nlicense: other\n---\n", None),
        ("---\nlicense: ''\n---\n", None),
        ("---\nlicense: [\n---\n", None),
        ("---\njust a line\n---\n", None),
        ("no front matter", None),
    ],
)
def test_a_card_of_any_state_is_read_or_passed_over(tmp_path, card, expected):
    (tmp_path / "README.md").write_text(card)
    assert licences.of_base(tmp_path) == expected


_SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
_SCALED |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("Gemma2Config", {}, "gemma"),
        ("Gemma3TextConfig", {}, "gemma"),
        ("LlamaConfig", {"vocab_size": 128256}, "llama3"),
        ("LlamaConfig", {"vocab_size": 128256, "rope_scaling": _SCALED}, "llama3.1"),
        (
            "LlamaConfig",
            {"vocab_size": 128256, "rope_scaling": _SCALED}
            | {"tie_word_embeddings": True},
            "llama3.2",
        ),
        ("LlamaConfig", {"vocab_size": 32000}, None),
        ("Qwen3Config", {}, None),
        ("MistralConfig", {}, None),
    ],
)
def test_a_family_says_its_licence_only_where_it_has_one(
    tmp_path, kind, settings, expected
):
    config = getattr(transformers, kind)(**settings).to_dict()
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = licences.of_base(tmp_path)
    assert found == (Licence(expected) if expected else None)


@pytest.mark.parametrize(
    ("licence", "name", "warned"),
    [
        ("llama3", "Llama-3-8B-xinst", False),
        ("llama3", "llama3_8b_fi", False),
        ("llama3", "xinst-llama-3", True),
        ("llama3", "Llama-2-fi", True),
        ("llama3.1", "Llama-fi", False),
        ("llama3.2", "finnish", True),
        ("llama2", "finnish", False),
        ("gemma", "finnish", False),
        ("apache-2.0", "finnish", False),
    ],
)
def test_a_name_is_warned_of_where_the_licence_asks_for_another(licence, name, warned):
    warning = licences.name_warning(licence, name)
    assert (warning is not None) == warned
    assert warning is None or name in warning


def test_rows_of_known_licences_name_them_and_any_other_row_hides_none():
    assert licences.of_rows({"CC BY 4.0", "ODC-By"}) == ["cc-by-4.0", "odc-by"]
    assert licences.of_rows({"CC BY 4.0", "ask us"}) == ["other"]
    assert licences.of_rows(set()) == ["other"]
