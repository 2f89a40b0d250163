"""The tokenizer.json built from a SentencePiece model gives SentencePiece's ids."""

import json
import random

import pytest
import sentencepiece
import transformers

from tests.hf import tokenizer_kinds as kinds
from tests.hf import tokenizer_texts
from xinst_jax.errors import UserError
from xinst_jax.hf import sentencepiece_model

NO_BLANKS = {"allow_whitespace_only_pieces": False}


def random_texts(count: int) -> list[str]:
    rng = random.Random(7)
    pool = "ab c  \n<>s/▁\x00éก็हि0129👩\u200d.,AB\t"
    made = ["".join(rng.choices(pool, k=rng.randint(0, 40))) for _ in range(count)]
    text = "".join(tokenizer_texts.every_sentence())
    starts = [rng.randrange(len(text)) for _ in range(count)]
    return made + [text[at : at + rng.randint(1, 60)][::-1] for at in starts]


def built(folder, model: bytes) -> transformers.PreTrainedTokenizerFast:
    (folder / "tokenizer.model").write_bytes(model)
    read = sentencepiece_model.read(folder / "tokenizer.model")
    record = sentencepiece_model.tokenizer_json(read)
    (folder / "tokenizer.json").write_text(json.dumps(record))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json")
    )


@pytest.mark.parametrize(
    "switches",
    [
        NO_BLANKS | {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
        {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
        NO_BLANKS | {"control_symbols": ["<x>"], "add_dummy_prefix": False},
        {
            "add_dummy_prefix": False,
            "user_defined_symbols": [*kinds.GEMMA_WHITESPACE, "ab", "<b", "हि"],
        },
    ],
)
def test_a_built_file_gives_sentencepieces_ids_after_bos(switches, tmp_path):
    model = kinds.train_sentencepiece(**switches)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=model)
    ours = built(tmp_path, model)
    for text in [
        *tokenizer_texts.every_sentence(),
        *tokenizer_texts.HARD_TEXTS,
        *random_texts(500),
    ]:
        expected = oracle.encode(text)
        found = ours(text, split_special_tokens=True)["input_ids"]
        assert found == [oracle.bos_id(), *expected], text[:80]
        assert ours.decode(expected) == oracle.decode(expected), text[:80]
    assert len(ours) == oracle.vocab_size()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"model_type": "unigram"}, "model_type is bpe"),
        ({"byte_fallback": False}, "byte_fallback is on"),
        ({"normalization_rule_name": "nmt_nfkc"}, "identity"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces is off"),
        ({"user_defined_symbols": ["<u>"]}, "user_defined_symbols, or add_dummy"),
    ],
)
def test_a_model_that_cannot_be_repeated_is_refused(setting, named, tmp_path):
    with pytest.raises(UserError, match=named):
        built(tmp_path, kinds.train_sentencepiece(vocab_size=1500, **setting))


def test_equal_models_give_equal_content(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(kinds.gemma_model())
    model = sentencepiece_model.read(tmp_path / "tokenizer.model")
    once = sentencepiece_model.tokenizer_json(model)
    assert json.dumps(sentencepiece_model.tokenizer_json(model)) == json.dumps(once)
