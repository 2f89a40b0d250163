"""Tokenizers give their own libraries' ids, and text is never a special token."""

import json
import pathlib
import pickle

import pytest
import seqio
import tensorflow as tf
import tokenizers
import transformers
from sentencepiece import SentencePieceProcessor
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import trainers as tokenizer_trainers

from xinst_jax.config import TokenizerConfig
from xinst_jax.data import vocab
from xinst_jax.errors import UserError

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"
HARD = [
    "",
    " ",
    "two  spaces   three",
    "\n\nline\nbreaks\n",
    "\ttab",
    "<s>",
    "</s> <unk> <pad>",
    "a<s>b</s>c",
    "<0x41><0x0A>",
    "<|begin_of_text|><|eot|> <bos>",
    "क्‍ष می‌خواهم ที่",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ᚱᚢᚾ 😀👩‍🌾",
    "1234567890 3.14",
    " leading and trailing ",
]


def sample_texts():
    texts = []
    for path in sorted(SAMPLE.glob("*/??.jsonl")):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            texts += [
                row[name] for name in ("text", "instruction", "output") if row.get(name)
            ]
    return texts


@pytest.fixture(scope="module")
def texts():
    return sample_texts()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    vocab.train_sentencepiece(texts, path, TokenizerConfig(vocab_size=3000))
    return path


@pytest.fixture(scope="module")
def llama3_like(tmp_path_factory, texts):
    """Byte-level BPE: id 0 is a real token, specials last, BOS by post-processor."""
    folder = tmp_path_factory.mktemp("llama3")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = tokenizer_trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts[:60], trainer)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot|>"]
    tokenizer.add_special_tokens(names)
    begin = tokenizer.token_to_id(names[0])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names[0]} $A", special_tokens=[(names[0], begin)]
    )
    # As a file may be left by the run that saved it.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": {"__type": "AddedToken", "content": names[0], "special": True},
        "eos_token": names[1],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    stops = [tokenizer.token_to_id(name) for name in names[1:]]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
    return folder


@pytest.fixture(scope="module")
def xglm_like(tmp_path_factory):
    """Unigram whose pieces include the special tokens' names."""
    folder = tmp_path_factory.mktemp("xglm")
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(c, -3.0 - i / 100) for i, c in enumerate("▁abcdehlorsw<>/")]
    pieces += [("▁hello", -2.0), ("▁world", -2.5)]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


def test_trained_model_round_trips_every_text(trained, texts):
    vocabulary = vocab.load_vocabulary(trained.parent)
    for text in [*texts, *HARD]:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_training_repeats_byte_for_byte_at_another_path(trained, texts, tmp_path):
    other = tmp_path / "elsewhere" / "other.model"
    vocab.train_sentencepiece(iter(texts), other, TokenizerConfig(vocab_size=3000))
    assert other.read_bytes() == trained.read_bytes()


def test_sentencepiece_ids_are_the_librarys_and_never_special(trained, texts):
    vocabulary = vocab.load_vocabulary(trained)
    library = SentencePieceProcessor(model_file=str(trained))
    for text in [*texts[:80], *HARD]:
        ids = vocabulary.encode(text)
        assert ids == library.encode(text)
        assert not {0, 1, 2} & set(ids)
    assert (vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (0, 1, 2)
    assert vocabulary.pad_id is None and vocabulary.stop_ids == (2,)
    assert vocabulary.vocab_size == library.get_piece_size() == 3000
    assert vocabulary.encode_prompt("Hei") == [1, *library.encode("Hei")]


def test_digits_and_line_breaks_stand_alone(trained):
    vocabulary = vocab.load_vocabulary(trained)
    spelled = len(vocabulary.encode("2024")) - len(vocabulary.encode(""))
    assert spelled >= 4
    three = vocabulary.encode("a\n\n\nb")
    newline = SentencePieceProcessor(model_file=str(trained)).piece_to_id("<0x0A>")
    assert three.count(newline) == 3


def test_decode_stops_at_the_end_and_passes_over_what_is_no_text(trained):
    vocabulary = vocab.load_vocabulary(trained)
    ids = vocabulary.encode("Hyvää päivää")
    noisy = [1, *ids, 3000, 31999, 2, *ids]
    assert vocabulary.decode(noisy) == "Hyvää päivää"


def test_few_texts_give_fewer_pieces_and_too_small_a_vocabulary_is_an_error(tmp_path):
    path = tmp_path / "tokenizer.model"
    few = TokenizerConfig(vocab_size=5000)
    vocab.train_sentencepiece(["Yksi kaksi.", "Kolme neljä."], path, few)
    assert 259 < vocab.load_vocabulary(path).vocab_size < 5000
    with pytest.raises(UserError, match="vocab_size = 260"):
        vocab.train_sentencepiece(
            ["abcdefghijklmnopqrstuvwxyz"], path, TokenizerConfig(vocab_size=260)
        )
    with pytest.raises(UserError, match="no text"):
        vocab.train_sentencepiece(["", " \n"], path, few)


def test_a_user_defined_piece_is_text(tmp_path, texts):
    from sentencepiece import SentencePieceTrainer

    prefix = str(tmp_path / "gemma")
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts[:20]),
        model_prefix=prefix,
        vocab_size=2500,
        model_type="bpe",
        byte_fallback=True,
        user_defined_symbols=["<table>"],
        control_symbols=["<turn>"],
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        hard_vocab_limit=False,
        character_coverage=0.98,
        minloglevel=2,
    )
    vocabulary = vocab.load_vocabulary(f"{prefix}.model")
    library = SentencePieceProcessor(model_file=f"{prefix}.model")
    ids = vocabulary.encode("<table> <turn>")
    assert library.piece_to_id("<table>") in ids
    assert library.piece_to_id("<turn>") not in ids
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.bos_id) == (0, 1, 2)


def test_hugging_face_ids_are_transformers(llama3_like, texts):
    vocabulary = vocab.load_vocabulary(llama3_like)
    library = transformers.AutoTokenizer.from_pretrained(llama3_like)
    for text in [*texts[:80], *HARD]:
        ids = vocabulary.encode(text)
        expected = library(
            text, add_special_tokens=False, split_special_tokens=True, truncation=False
        )
        assert ids == expected["input_ids"]
        assert not set(ids) & vocabulary.special_ids
        assert vocabulary.decode(ids) == text
    prompt = "Below is an instruction."
    assert vocabulary.encode_prompt(prompt) == library(prompt)["input_ids"]


def test_ids_come_from_the_files_beside_a_tokenizer_json(llama3_like, xglm_like):
    llama = vocab.load_vocabulary(llama3_like / "tokenizer.json")
    spell = tokenizers.Tokenizer.from_file(str(llama.path)).token_to_id
    assert llama.bos_id == spell("<|begin_of_text|>")
    assert llama.eos_id == spell("<|end_of_text|>")
    assert llama.stop_ids == (spell("<|end_of_text|>"), spell("<|eot|>"))
    assert llama.pad_id is None and llama.unk_id is None
    assert llama.vocab_size == spell("<|eot|>") + 1
    xglm = vocab.load_vocabulary(xglm_like)
    assert (xglm.bos_id, xglm.pad_id, xglm.eos_id, xglm.unk_id) == (None, 1, 2, 3)


@pytest.mark.parametrize("text", ["<s>", "hello<s> world</s>", "<s></s><pad>"])
def test_a_piece_named_like_a_special_token_is_broken_up(xglm_like, text):
    vocabulary = vocab.load_vocabulary(xglm_like)
    ids = vocabulary.encode(text)
    assert not set(ids) & vocabulary.special_ids
    spelled = "".join(vocabulary.decode([index]) for index in ids if index > 3)
    assert spelled.replace(" ", "").startswith(text.replace("pad", "")[:3].strip())


def test_add_bos_token_decides_what_is_put_before_a_text(llama3_like, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((llama3_like / name).read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["add_bos_token"] = False
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert vocab.load_vocabulary(tmp_path).bos_id is None


def test_what_is_no_tokenizer_is_named(tmp_path, llama3_like):
    with pytest.raises(UserError, match=r"No tokenizer in .*found nothing"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"tokenizer\.model cannot be read"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        vocab.load_vocabulary(tmp_path)
    content = (llama3_like / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match="which token ends a text"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    with pytest.raises(UserError, match="'<end>' as eos_token"):
        vocab.load_vocabulary(tmp_path)


@pytest.mark.parametrize("kind", ["trained", "llama3_like"])
def test_tensorflow_gives_the_same_ids(kind, request, texts):
    vocabulary = vocab.load_vocabulary(request.getfixturevalue(kind))
    dataset = tf.data.Dataset.from_tensor_slices(texts[:5])
    dataset = dataset.map(lambda text: vocabulary.encode_tf(text))
    for ids, text in zip(dataset.as_numpy_iterator(), texts, strict=False):
        assert ids.tolist() == vocabulary.encode(text)
        assert vocabulary.decode_tf(tf.constant(ids)).numpy().decode() == text
    feature = seqio.Feature(vocabulary, add_eos=True)
    done = seqio.preprocessors.tokenize_and_append_eos(
        tf.data.Dataset.from_tensors({"targets": texts[0]}), {"targets": feature}
    )
    (example,) = done.as_numpy_iterator()
    assert example["targets"][-1] == vocabulary.eos_id


@pytest.mark.parametrize("kind", ["trained", "llama3_like"])
def test_a_vocabulary_survives_pickling_and_copying(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    vocabulary = vocab.load_vocabulary(source)
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again == vocabulary and hash(again) == hash(vocabulary)
    vocab.copy_tokenizer(source, tmp_path)
    copied = vocab.load_vocabulary(tmp_path)
    text = "Terve <s> maailma"
    assert copied.encode_prompt(text) == again.encode_prompt(text)
    assert copied.stop_ids == vocabulary.stop_ids and copied == vocabulary
