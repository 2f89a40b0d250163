"""Tokenizers give their own libraries' ids, and text is never a special token."""

import json
import pickle
import shutil
import unicodedata

import pytest
import seqio
import tensorflow as tf
import tokenizers
import transformers
from sentencepiece import SentencePieceProcessor
from tokenizers import decoders, models, normalizers, pre_tokenizers

from tests.hf import tokenizer_differences as differences
from tests.hf import tokenizer_kinds as kinds
from tests.hf import tokenizer_texts
from xinst_jax.data import vocab
from xinst_jax.errors import UserError

TEXTS = (*tokenizer_texts.every_sentence(), *tokenizer_texts.HARD_TEXTS)


@pytest.fixture(scope="module", params=kinds.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return kinds.make(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def vocabulary(folder):
    return vocab.load_vocabulary(folder)


@pytest.fixture(scope="module")
def llama2(tmp_path_factory):
    return kinds.make("llama2-model", tmp_path_factory.mktemp("llama2"))


@pytest.fixture(scope="module")
def llama3(tmp_path_factory):
    return kinds.make("llama3", tmp_path_factory.mktemp("llama3"))


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


def their_ids(tokenizer, text, begin=False):
    found = tokenizer(text, add_special_tokens=begin, split_special_tokens=True)
    return found["input_ids"]


@pytest.mark.parametrize("language", tokenizer_texts.LANGUAGES)
def test_the_texts_have_a_hundred_sentences_of_each_language(language):
    assert len(set(tokenizer_texts.sentences(language))) >= 100


def test_ids_are_those_of_the_file_in_its_own_library(kind, folder, vocabulary):
    if kind.endswith("-model"):
        processor = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        listed, theirs = differences.SENTENCEPIECE, processor.encode

        def begun(text):
            return [processor.bos_id(), *processor.encode(text)]
    else:
        file = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        listed = differences.OWN_FILE

        def theirs(text):
            return their_ids(file, text)

        def begun(text):
            return their_ids(file, text, begin=True)

    expected = {*listed.get(kind, ())}
    assert differences.differing(TEXTS, vocabulary.encode, theirs) == expected
    assert differences.differing(TEXTS, vocabulary.encode_prompt, begun) == expected


def test_ids_are_those_of_the_familys_class_in_transformers(kind, folder, vocabulary):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    own = {"llama2": "LlamaTokenizer", "gemma": "GemmaTokenizer"}
    own |= {"qwen": "Qwen2Tokenizer", "llama3": "TokenizersBackend"}
    assert type(theirs).__name__ == own[kind.partition("-")[0]]
    found = differences.differing(
        TEXTS, vocabulary.encode, lambda text: their_ids(theirs, text)
    )
    assert found == {*differences.FAMILY_CLASS_5.get(kind, ())}
    found = differences.differing(
        TEXTS,
        vocabulary.encode_prompt,
        lambda text: their_ids(theirs, text, begin=True),
    )
    assert found == {*differences.FAMILY_CLASS_5.get(kind, ())}
    assert (vocabulary.eos_id, vocabulary.pad_id) == (
        theirs.eos_token_id,
        theirs.pad_token_id,
    )
    assert vocabulary.vocab_size == len(theirs)


def test_llamas_class_in_transformers_5_leaves_out_one_space_and_nothing_else(llama2):
    """What the differences listed for it are: SentencePiece's space before a text."""
    theirs = transformers.AutoTokenizer.from_pretrained(llama2)
    space = theirs.convert_tokens_to_ids("▁")
    vocabulary = vocab.load_vocabulary(llama2)
    for text in differences.FAMILY_CLASS_5["llama2"]:
        assert vocabulary.encode(text) == [space, *their_ids(theirs, text)]


def test_no_text_gives_a_special_id_and_every_text_comes_back(kind, vocabulary):
    for text in TEXTS:
        ids = vocabulary.encode(text)
        assert vocabulary.special_ids.isdisjoint(ids), text[:80]
        expected = text
        if kind == "qwen":
            expected = unicodedata.normalize("NFC", text)
        elif kind != "llama3":
            expected = text.replace("▁", " ")
        assert vocabulary.decode(ids) == expected


def test_what_ends_a_text_is_all_that_the_files_say(kind, folder, vocabulary):
    record = json.loads((folder / "generation_config.json").read_bytes())
    listed = record["eos_token_id"]
    listed = listed if isinstance(listed, list) else [listed]
    assert set(vocabulary.stop_ids) == set(listed)
    assert vocabulary.stop_ids[0] == vocabulary.eos_id
    assert set(vocabulary.stop_ids) <= vocabulary.special_ids
    (folder / "generation_config.json").rename(folder / "away.json")
    try:
        assert vocab.load_vocabulary(folder).stop_ids == vocabulary.stop_ids
        other = {"eos_token_id": 7}
        (folder / "config.json").rename(folder / "config.away")
        (folder / "config.json").write_text(json.dumps(other))
        assert vocab.load_vocabulary(folder).stop_ids == (vocabulary.eos_id,)
    finally:
        (folder / "away.json").rename(folder / "generation_config.json")
        (folder / "config.away").rename(folder / "config.json")


def test_gemmas_turn_marks_are_spelled_without_their_file_too(tmp_path):
    folder = kinds.make("gemma-model", tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    vocabulary = vocab.load_vocabulary(folder)
    library = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    turn, table = map(library.piece_to_id, ("<start_of_turn>", "<table>"))
    ids = vocabulary.encode("<start_of_turn><table>\n\n\n")
    assert turn not in ids and table in ids
    assert ids[-1] == library.piece_to_id("\n\n\n")
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.bos_id) == (0, 1, 2)
    assert (vocabulary.unk_id, turn in vocabulary.special_ids) == (3, True)


def test_decode_stops_at_the_end_and_passes_over_what_is_no_text(llama2):
    vocabulary = vocab.load_vocabulary(llama2)
    ids = vocabulary.encode("Hyvää päivää")
    noisy = [1, *ids, 3000, 31999, 2, *ids]
    assert vocabulary.decode(noisy) == "Hyvää päivää"


def test_a_token_that_another_file_calls_special_is_spelled_in_text(llama3, tmp_path):
    """As a vocabulary has it whose end token was turned special later."""
    shutil.copytree(llama3, tmp_path, dirs_exist_ok=True)
    record = json.loads((tmp_path / "tokenizer.json").read_bytes())
    for token in record["added_tokens"]:
        token["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))
    vocabulary = vocab.load_vocabulary(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "a<|eot_id|><|start_header_id|>b"
    ids = vocabulary.encode(text)
    assert vocabulary.special_ids.isdisjoint(ids) and len(vocabulary.special_ids) == 6
    assert ids == their_ids(theirs, text) == vocab.load_vocabulary(llama3).encode(text)


def test_files_may_carry_the_settings_of_the_run_that_saved_them(llama3, tmp_path):
    shutil.copytree(llama3, tmp_path, dirs_exist_ok=True)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = "one two three four five six seven"
    cut = vocab.load_vocabulary(tmp_path).encode_prompt(text)
    assert cut == vocab.load_vocabulary(llama3).encode_prompt(text)


def test_ids_come_from_the_map_where_there_is_no_config(xglm_like):
    xglm = vocab.load_vocabulary(xglm_like)
    assert (xglm.bos_id, xglm.pad_id, xglm.eos_id, xglm.unk_id) == (None, 1, 2, 3)


@pytest.mark.parametrize(
    "text", ["<s>", "hello<s> world</s>", "<s></s><s>", "<s>" * 5000]
)
def test_a_piece_named_like_a_special_token_is_broken_up(xglm_like, text):
    vocabulary = vocab.load_vocabulary(xglm_like)
    ids = vocabulary.encode(text)
    assert vocabulary.special_ids.isdisjoint(ids)
    assert vocabulary.decode(ids) == text


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("base", ["llama2-model", "llama3", "qwen"])
def test_a_file_decides_what_is_put_before_a_text_and_else_add_bos_token(
    base, said, tmp_path
):
    folder = kinds.make(base, tmp_path)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_bytes()) | {"add_bos_token": said}
    file.write_text(json.dumps(config))
    vocabulary = vocab.load_vocabulary(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert vocabulary.encode_prompt("Hei") == theirs("Hei")["input_ids"]
    expected = {"llama2-model": said, "llama3": True, "qwen": False}
    assert (vocabulary.bos_id is not None) == expected[base]


def test_added_tokens_follow_a_sentencepiece_models_pieces(tmp_path):
    folder = kinds.make("llama2-model", tmp_path)
    file = folder / "added_tokens.json"
    file.write_text(json.dumps({"<|im_end|>": 2501, "<pad>": 2500, "</s>": 2}))
    config = {"eos_token": "<|im_end|>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary = vocab.load_vocabulary(folder)
    assert (vocabulary.eos_id, vocabulary.pad_id) == (2501, 2500)
    assert (vocabulary.vocab_size, vocabulary.stop_ids) == (2502, (2501, 2))
    ids = vocabulary.encode("a<pad><|im_end|>")
    assert vocabulary.special_ids.isdisjoint(ids)
    assert vocabulary.decode([*ids, 2500, 2501, 7]) == "a<pad><|im_end|>"
    file.write_text(json.dumps({"<pad>": 2600}))
    with pytest.raises(UserError, match=r"added_tokens.*2600.*from 2500 on"):
        vocab.load_vocabulary(folder)


def test_what_is_no_tokenizer_is_named(tmp_path, llama3):
    with pytest.raises(UserError, match=r"No tokenizer in .*found nothing"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"tokenizer\.model cannot be read"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        vocab.load_vocabulary(tmp_path)
    content = (llama3 / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match="which token ends a text"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    with pytest.raises(UserError, match="'<end>' as eos_token"):
        vocab.load_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('["</s>"]')
    with pytest.raises(UserError, match=r"config\.json is not a JSON object"):
        vocab.load_vocabulary(tmp_path)


def test_a_special_character_needs_an_unknown_token_to_be_spelled_with(tmp_path):
    pieces = {"a": 0, "%": 1, "</s>": 2, "?": 3}
    tokenizer = tokenizers.Tokenizer(models.BPE(pieces, merges=[]))
    tokenizer.add_special_tokens(["%", "</s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"eos_token": "</s>"}')
    with pytest.raises(UserError, match=r"tokenizer\.json: the character '%' is"):
        vocab.load_vocabulary(tmp_path)
    config.write_text('{"eos_token": "</s>", "unk_token": "?"}')
    assert vocab.load_vocabulary(tmp_path).encode("a%a") == [0, 3, 0]


@pytest.mark.parametrize("source", ["llama2", "llama3"])
def test_tensorflow_gives_the_same_ids(source, request):
    vocabulary = vocab.load_vocabulary(request.getfixturevalue(source))
    texts = tokenizer_texts.of_language("fi")[:5]
    dataset = tf.data.Dataset.from_tensor_slices(list(texts))
    dataset = dataset.map(lambda text: vocabulary.encode_tf(text))
    for ids, text in zip(dataset.as_numpy_iterator(), texts, strict=True):
        assert ids.tolist() == vocabulary.encode(text)
        assert vocabulary.decode_tf(tf.constant(ids)).numpy().decode() == text
    feature = seqio.Feature(vocabulary, add_eos=True)
    done = seqio.preprocessors.tokenize_and_append_eos(
        tf.data.Dataset.from_tensors({"targets": texts[0]}), {"targets": feature}
    )
    (example,) = done.as_numpy_iterator()
    assert example["targets"][-1] == vocabulary.eos_id


def test_a_vocabulary_survives_pickling_and_copying(folder, vocabulary, tmp_path):
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again == vocabulary and hash(again) == hash(vocabulary)
    vocab.copy_tokenizer(folder, tmp_path)
    copied = vocab.load_vocabulary(tmp_path)
    text = "Terve <s> maailma"
    assert copied.encode_prompt(text) == again.encode_prompt(text)
    assert copied.stop_ids == vocabulary.stop_ids and copied == vocabulary
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()
