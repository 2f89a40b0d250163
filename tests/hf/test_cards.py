"""Model cards that the hub's own library reads."""

import huggingface_hub
import pytest

from xinst_jax.hf import cards
from xinst_jax.hf.licences import TERMS, Licence

LANGUAGES = {"fi": "Finnish", "ur": "Urdu"}


def model_card(**changes) -> str:
    settings = {
        "name": "Tiny",
        "languages": LANGUAGES,
        "licence": Licence("apache-2.0"),
        "base_model": "",
        "datasets": [],
        "rows": {"fi": 1234},
        "prompt": "### Instruction:\n{instruction}",
        "figures": {"held-out loss": "2.31"},
        "lineage": {"run": "tiny", "dataset": "0123456789abcdef"},
    }
    return cards.model_card(**settings | changes)


def read(text: str) -> huggingface_hub.ModelCardData:
    return huggingface_hub.ModelCard(text).data


def test_a_model_card_names_its_base_only_if_it_has_one():
    data = read(model_card())
    assert (data.language, data.license) == (["en", "fi", "ur"], "apache-2.0")
    assert data.library_name == "transformers"
    assert data.base_model is None
    assert "trained from scratch" in model_card()
    tuned = model_card(base_model="org/base", datasets=["org/data"])
    data = read(tuned)
    assert (data.base_model, data.datasets) == ("org/base", ["org/data"])
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert "| Finnish | 1,234 |" in tuned
    assert "| held-out loss | 2.31 |" in tuned
    assert "| dataset | 0123456789abcdef |" in tuned


def test_a_base_that_is_not_on_the_hub_is_named_in_words_only():
    text = model_card(base_model="my-folder")
    assert "tuned from `my-folder`" in text
    assert read(text).base_model is None
    assert "base_model_relation" not in read(text).to_dict()


def test_an_adapter_is_said_to_be_one_and_loaded_as_one():
    text = model_card(base_model="org/base", adapter=True)
    data = read(text)
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert data.library_name == "peft"
    assert "AutoPeftModelForCausalLM" in text and "LoRA adapter" in text


@pytest.mark.parametrize("licence", sorted(TERMS))
def test_a_licences_notice_and_display_are_on_the_card(licence):
    found = Licence(licence)
    if "qwen" in licence:
        found = Licence("other", licence, "LICENSE")
    text = model_card(licence=found, base_model="org/base")
    assert read(text).license == found.identifier
    assert read(text).license_name == (found.name or None)
    terms = TERMS[licence]
    assert terms.notice in text
    assert terms.built_with in text
    assert (f"begin with “{terms.name_start}”" in text) == bool(terms.name_start)


def test_only_a_llama_or_a_qwen_brings_what_its_licence_wants_displayed():
    assert "Built with Meta Llama 3." in model_card(licence=Licence("llama3"))
    assert "Built with Llama." in model_card(licence=Licence("llama3.1"))
    for name in ("qwen", "qwen-research"):
        assert "**Built with Qwen.**" in model_card(licence=Licence("other", name))
    for other in ("apache-2.0", "gemma", "llama2", "tongyi-qianwen"):
        assert "Built with" not in model_card(licence=Licence(other))


def test_a_licence_without_identifier_is_named_and_an_unknown_one_not_guessed():
    named = read(model_card(licence=Licence("other", "qwen-research", "LICENSE")))
    assert (named.license, named.license_name) == ("other", "qwen-research")
    assert named.license_link == "LICENSE"
    text = model_card(licence=None, base_model="org/base")
    assert (read(text).license, read(text).license_name) == ("other", "unknown")
    assert "says nothing of its licence" in text
