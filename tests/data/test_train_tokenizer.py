"""The trained tokenizer spells every text, and training repeats byte for byte."""

import pytest
from sentencepiece import SentencePieceProcessor

from tests.hf import tokenizer_texts
from xinst_jax.config import TokenizerConfig
from xinst_jax.data import train_tokenizer, vocab
from xinst_jax.errors import UserError


@pytest.fixture(scope="module")
def texts():
    return [
        text
        for language in tokenizer_texts.LANGUAGES
        for text in tokenizer_texts.of_language(language)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    train_tokenizer.train_sentencepiece(texts, path, TokenizerConfig(vocab_size=3000))
    return path


def test_every_text_comes_back(trained, texts):
    vocabulary = vocab.load_vocabulary(trained.parent)
    for text in [*texts, *tokenizer_texts.HARD_TEXTS]:
        ids = vocabulary.encode(text)
        assert not {0, 1, 2} & set(ids)
        assert vocabulary.decode(ids) == text.replace("▁", " ")


def test_training_repeats_byte_for_byte_at_another_path(trained, texts, tmp_path):
    other = tmp_path / "elsewhere" / "other.model"
    config = TokenizerConfig(vocab_size=3000)
    train_tokenizer.train_sentencepiece(iter(texts), other, config)
    assert other.read_bytes() == trained.read_bytes()


def test_ids_are_laid_out_as_llamas_and_no_name_is_html(trained):
    vocabulary = vocab.load_vocabulary(trained)
    library = SentencePieceProcessor(model_file=str(trained))
    assert (vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (0, 1, 2)
    assert vocabulary.pad_id is None and vocabulary.stop_ids == (2,)
    assert vocabulary.vocab_size == library.get_piece_size() == 3000
    assert vocabulary.encode_prompt("Hei") == [1, *library.encode("Hei")]
    names = [library.id_to_piece(index) for index in range(4)]
    assert names == ["<|unknown|>", "<|begin_of_text|>", "<|end_of_text|>", "<0x00>"]


def test_digits_and_line_breaks_stand_alone(trained):
    vocabulary = vocab.load_vocabulary(trained)
    spelled = len(vocabulary.encode("2024")) - len(vocabulary.encode(""))
    assert spelled >= 4
    three = vocabulary.encode("a\n\n\nb")
    newline = SentencePieceProcessor(model_file=str(trained)).piece_to_id("<0x0A>")
    assert three.count(newline) == 3


def test_few_texts_give_fewer_pieces_and_too_small_a_vocabulary_is_an_error(tmp_path):
    path = tmp_path / "tokenizer.model"
    few = TokenizerConfig(vocab_size=5000)
    train = train_tokenizer.train_sentencepiece
    train(["Yksi kaksi.", "Kolme neljä."], path, few)
    assert 259 < vocab.load_vocabulary(path).vocab_size < 5000
    with pytest.raises(UserError, match="vocab_size = 260"):
        train(["abcdefghijklmnopqrstuvwxyz"], path, TokenizerConfig(vocab_size=260))
    with pytest.raises(UserError, match="no text"):
        train(["", " \n"], path, few)
