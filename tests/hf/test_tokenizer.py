"""Hugging Face tokenizer files against SentencePiece and transformers."""

import io
import json
import pathlib
import random

import pytest
import sentencepiece
import transformers

from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.hf import tokenizer as tokenizer_lib

PROMPT = prompts.answer("{instruction}", "{output_lang}", seed_style=True)
SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"
ADVERSARIAL = (
    "",
    " ",
    "   three leading",
    "two  spaces   three ",
    "\n\n a\r\nb\t",
    "<s>struck</s> <unk> <0x41> <pad>",
    "▁▁ a ▁",
    "👩‍👩‍👧‍👦🏳️‍🌈 😀😀😀",
    "\u200d\u200c\ufeff",
    "\x00\x01\x1b\x7f",
    "é e\u0301 ก็ हिन्दी தமிழ் ٱردو",
    "1234567890 0b10",
    "aaaaaaaaaaa ababababa",
    "[INST] ### Response:",
)


def sample_texts() -> list[str]:
    rows = [
        json.loads(line)
        for path in sorted(SAMPLE.glob("*/*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [row[name] for row in rows for name in ("text", "output") if name in row]


def trained(**overrides) -> bytes:
    model = io.BytesIO()
    settings = {
        "model_type": "bpe",
        "vocab_size": 1500,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "max_sentence_length": 1 << 20,
        "minloglevel": 2,
        "num_threads": 1,
    } | overrides
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sample_texts()), model_writer=model, **settings
    )
    return model.getvalue()


def write(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def loaded(folder: pathlib.Path) -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model() -> bytes:
    return trained()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> pathlib.Path:
    files = tokenizer_lib.from_sentencepiece(model, PROMPT, 2048)
    return write(tmp_path_factory.mktemp("tokenizer") / "folder", files)


def random_texts(count: int) -> list[str]:
    rng = random.Random(7)
    pool = "ab c  \n<>s/▁\x00éก็हि0129👩\u200d.,AB"
    made = ["".join(rng.choices(pool, k=rng.randint(0, 40))) for _ in range(count)]
    text = "".join(sample_texts())
    starts = [rng.randrange(len(text)) for _ in range(count)]
    return made + [text[at : at + rng.randint(1, 60)][::-1] for at in starts]


@pytest.mark.parametrize(
    "ids",
    [
        {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
        {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
        {"control_symbols": ["<x>"], "add_dummy_prefix": False},
    ],
)
def test_transformers_gives_sentencepieces_ids_after_bos(ids, tmp_path):
    model = trained(**ids)
    files = tokenizer_lib.from_sentencepiece(model, PROMPT, 2048)
    ours = loaded(write(tmp_path, files))
    oracle = sentencepiece.SentencePieceProcessor(model_proto=model)
    for text in [*sample_texts(), *ADVERSARIAL, *random_texts(1000)]:
        expected = oracle.encode(text)
        assert ours(text)["input_ids"] == [oracle.bos_id(), *expected], text
        assert ours.decode(expected) == oracle.decode(expected), text
    assert len(ours) == oracle.vocab_size()
    assert (ours.bos_token_id, ours.eos_token_id) == (oracle.bos_id(), oracle.eos_id())
    pad_id = oracle.pad_id() if oracle.pad_id() >= 0 else oracle.unk_id()
    assert ours.pad_token_id == tokenizer_lib.padding_id(files) == pad_id
    assert set(ours("a")) == {"input_ids", "attention_mask"}


def test_special_tokens_are_never_spelled_as_html(folder):
    assert not {"<s>", "</s>", "<unk>"} & set(loaded(folder).all_special_tokens)


def test_chat_template_gives_the_tokens_of_a_training_example(model, folder):
    oracle = sentencepiece.SentencePieceProcessor(model_proto=model)
    instruction, response = "Sing a <s>song</s>. ", " Laulan\n  paljon."
    prompt = prompts.answer(instruction, "Finnish", seed_style=True)
    answer = [*oracle.encode(response), oracle.eos_id()]
    chat = loaded(folder).apply_chat_template(
        [
            {"role": "user", "content": instruction},
            {"role": "assistant", "content": response},
        ],
        output_lang="Finnish",
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    before = [oracle.bos_id(), *oracle.encode(prompt)]
    assert chat["input_ids"] == before + answer
    assert chat["assistant_masks"] == [0] * len(before) + [1] * len(answer)


def test_chat_template_without_a_language_asks_for_none(folder):
    text = loaded(folder).apply_chat_template(
        [{"role": "user", "content": "Sing."}], tokenize=False
    )
    prompt = PROMPT.format(instruction="Sing.", output_lang="X")
    asked = " " + prompts.answer_request("X", seed_style=True) + " "
    assert text == "<|begin_of_text|>" + prompt.replace(asked, "")


def test_chat_template_stands_in_its_file_and_in_the_config(folder):
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    text = (folder / "chat_template.jinja").read_text()
    assert config["chat_template"] == text
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"model_type": "unigram"}, "model_type is bpe"),
        ({"byte_fallback": False}, "byte_fallback is on"),
        ({"normalization_rule_name": "nmt_nfkc"}, "identity"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces is off"),
        ({"user_defined_symbols": ["<u>"]}, "user_defined_symbols"),
    ],
)
def test_a_model_that_cannot_be_repeated_is_refused(setting, named):
    with pytest.raises(UserError, match=named):
        tokenizer_lib.from_sentencepiece(trained(**setting), PROMPT, 2048)


def test_equal_models_give_equal_bytes(model):
    once = tokenizer_lib.from_sentencepiece(model, PROMPT, 2048)
    assert tokenizer_lib.from_sentencepiece(model, PROMPT, 2048) == once


def test_a_copied_tokenizer_keeps_its_bytes_and_ids(folder, tmp_path):
    base = loaded(folder)
    base.pad_token = None
    base.save_pretrained(tmp_path / "base")
    saved = json.loads((tmp_path / "base/tokenizer_config.json").read_bytes())
    assert saved["tokenizer_class"] == "TokenizersBackend"
    files = tokenizer_lib.from_folder(tmp_path / "base", PROMPT, 2048)
    again = loaded(write(tmp_path / "again", files))
    bytes_ = (tmp_path / "base/tokenizer.json").read_bytes()
    assert files["tokenizer.json"] == bytes_
    for text in ADVERSARIAL:
        assert again(text)["input_ids"] == base(text)["input_ids"]
    assert again.pad_token_id == base.eos_token_id
    config = json.loads(files["tokenizer_config.json"])
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"backend", "is_local"} & set(config)
    assert config["chat_template"] == files["chat_template.jinja"].decode()


def test_a_folder_with_only_sentencepiece_is_built(model, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(model)
    built = tokenizer_lib.from_sentencepiece(model, PROMPT, 99)
    assert tokenizer_lib.from_folder(tmp_path, PROMPT, 99) == built


def test_a_folder_without_tokenizer_or_end_token_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"neither tokenizer\.json"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)
    bytes_ = (folder / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(bytes_)
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="eos_token"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)
