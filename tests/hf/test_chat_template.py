"""A rendered conversation has the tokens of a training example."""

import json

import pytest
import tokenizers
import transformers

from tests.hf import tokenizer_kinds as kinds
from tests.hf import tokenizer_texts
from xinst_jax.data import prompts, vocab
from xinst_jax.hf import tokenizer as tokenizer_lib
from xinst_jax.hf.chat_template import Joints, chat_template

PROMPT = prompts.answer("{instruction}", "{output_lang}", seed_style=True)
RESPONSES = (
    *tokenizer_texts.every_sentence()[::10],
    " Laulan\n  paljon. ",
    "",
    "   ",
    '"Hei", sanoi hän.',
    "- yksi\n- kaksi",
    "1. yksi",
    "(katso)",
    "▁a",
    "👩‍🌾",
    "\u200dक्ष",
)
KINDS = (*kinds.KINDS, "llama2-metaspace")


def metaspace(folder):
    """Llama 2 as transformers 5 saves it: a space before the first word alone."""
    kinds.llama2(folder)
    record = json.loads((folder / "tokenizer.json").read_bytes())
    record["normalizer"] = None
    record["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    (folder / "tokenizer.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A kind's own vocabulary, and transformers' tokenizer of what is exported."""
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "llama2-metaspace":
        base = metaspace(place)
    else:
        base = kinds.make(request.param, place / "base")
    exported = place / "exported"
    exported.mkdir()
    for name, content in tokenizer_lib.from_folder(base, PROMPT, 2048).items():
        (exported / name).write_bytes(content)
    (exported / "config.json").write_bytes((base / "config.json").read_bytes())
    return (
        vocab.load_vocabulary(base),
        transformers.AutoTokenizer.from_pretrained(exported),
    )


def test_a_conversation_has_the_tokens_of_a_training_example(pair):
    vocabulary, theirs = pair
    instruction = "Sing a song. "
    prompt = prompts.answer(instruction, "Finnish", seed_style=True)
    before = vocabulary.encode_prompt(prompt)
    for response in RESPONSES:
        answer = [*vocabulary.encode(response), vocabulary.eos_id]
        chat = theirs.apply_chat_template(
            [
                {"role": "user", "content": instruction},
                {"role": "assistant", "content": response},
            ],
            output_lang="Finnish",
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        assert chat["input_ids"] == before + answer, response
        assert chat["assistant_masks"] == [0] * len(before) + [1] * len(answer)


def test_a_prompt_alone_has_the_tokens_that_an_answer_follows(pair):
    vocabulary, theirs = pair
    chat = [{"role": "user", "content": "Sing."}]
    ids = theirs.apply_chat_template(
        chat, output_lang="Thai", add_generation_prompt=True, return_dict=True
    )["input_ids"]
    prompt = prompts.answer("Sing.", "Thai", seed_style=True)
    assert ids == vocabulary.encode_prompt(prompt)


def test_special_names_in_a_message_are_text_where_transformers_is_asked(pair):
    vocabulary, theirs = pair
    end = theirs.eos_token
    instruction = f"Sing {end} and {end}{end}."
    chat = [{"role": "user", "content": instruction}]
    options = {"output_lang": "Thai", "return_dict": True}
    ids = theirs.apply_chat_template(chat, sanitize_control_tokens=True, **options)
    assert vocabulary.eos_id not in ids["input_ids"]
    ids = theirs.apply_chat_template(chat, **options)["input_ids"]
    assert ids.count(vocabulary.eos_id) == 3


def test_without_a_language_none_is_asked_for(pair):
    vocabulary, theirs = pair
    chat = [{"role": "user", "content": "Sing."}]
    text = theirs.apply_chat_template(chat, tokenize=False)
    prompt = PROMPT.format(instruction="Sing.", output_lang="X")
    asked = " " + prompts.answer_request("X", seed_style=True) + " "
    begin = theirs.bos_token if vocabulary.bos_id is not None else ""
    assert text.removeprefix(begin).lstrip(" ") == prompt.replace(asked, "")


def test_other_roles_are_refused_by_name(pair):
    _, theirs = pair
    with pytest.raises(Exception, match="roles user and assistant, not system"):
        theirs.apply_chat_template([{"role": "system", "content": "Be nice."}])


def test_a_prompt_without_slots_is_refused():
    with pytest.raises(ValueError, match="output_lang"):
        chat_template("Do {instruction}.", Joints(begin=True))


def test_what_a_byte_level_tokenizer_joins_over_the_colon_is_as_documented(tmp_path):
    """The one difference that no template can mend."""
    folder = kinds.make("llama3", tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    joined = tokenizer.encode("Response:\n\nHei", add_special_tokens=False).tokens
    apart = [
        token
        for part in ("Response:", "\n\nHei")
        for token in tokenizer.encode(part, add_special_tokens=False).tokens
    ]
    assert joined != apart and ":ĊĊ" in joined
