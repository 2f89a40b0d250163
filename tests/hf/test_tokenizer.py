"""The tokenizer files of an exported folder, against transformers 5 and 4."""

import json
import os
import pathlib
import subprocess
import sys
import warnings

import pytest
import transformers

from tests.hf import tokenizer_differences as differences
from tests.hf import tokenizer_kinds as kinds
from tests.hf import tokenizer_texts
from xinst_jax.data import prompts, vocab
from xinst_jax.errors import UserError
from xinst_jax.hf import tokenizer as tokenizer_lib

ROOT = pathlib.Path(__file__).parents[2]
TRANSFORMERS4 = ROOT / ".venv" / "transformers4"
PROMPT = prompts.answer("{instruction}", "{output_lang}", seed_style=True)
TEXTS = (*tokenizer_texts.every_sentence(), *tokenizer_texts.HARD_TEXTS)
WITH_JSON = ("llama2", "gemma", "llama3", "qwen")
SAVED_BY_5 = tuple(f"{name}-5" for name in WITH_JSON)
BASES = (*kinds.KINDS, *SAVED_BY_5)
CHATS = [
    [
        {"role": "user", "content": "Sing a song. "},
        {"role": "assistant", "content": response},
    ]
    for response in ("Laulan\n  paljon. ", " 3", "", "\u200dक्ष", "🎵\n\n")
]


def write(folder: pathlib.Path, base: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tokenizer_lib.from_folder(base, PROMPT, 2048).items():
        (folder / name).write_bytes(content)
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_bytes((base / name).read_bytes())
    return folder


def read(path: pathlib.Path):
    return json.loads(path.read_bytes())


def loaded(folder: pathlib.Path) -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Every base and what is exported from it, by name."""
    place = tmp_path_factory.mktemp("bases")
    bases = {kind: kinds.make(kind, place / kind) for kind in kinds.KINDS}
    for name in SAVED_BY_5:
        first = bases[name.removesuffix("-5")]
        loaded(first).save_pretrained(place / name)
        for file in ("config.json", "generation_config.json"):
            (place / name / file).write_bytes((first / file).read_bytes())
        bases[name] = place / name
    return {
        name: (base, write(place / "exported" / name, base))
        for name, base in bases.items()
    }


@pytest.fixture(params=BASES)
def pair(request, folders):
    return folders[request.param]


def test_transformers_reads_the_ids_that_were_trained_on(pair):
    base, exported = pair
    vocabulary, theirs = vocab.load_vocabulary(base), loaded(exported)
    for text in TEXTS:
        ids = vocabulary.encode(text)
        plain = theirs(text, add_special_tokens=False, split_special_tokens=True)
        assert plain["input_ids"] == ids, text[:80]
    assert theirs("Hei")["input_ids"] == vocabulary.encode_prompt("Hei")
    special = (theirs.eos_token_id, theirs.pad_token_id, len(theirs))
    pad = vocabulary.eos_id if vocabulary.pad_id is None else vocabulary.pad_id
    assert special == (vocabulary.eos_id, pad, vocabulary.vocab_size)
    assert theirs.bos_token_id == vocabulary.bos_id
    files = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert tokenizer_lib.padding_id(files) == pad
    assert set(theirs("a")) == {"input_ids", "attention_mask"}


def test_the_exported_tokenizer_is_the_bases_own(pair):
    base, exported = map(loaded, pair)
    found = differences.differing(
        TEXTS,
        lambda text: exported(text)["input_ids"],
        lambda text: base(text)["input_ids"],
    )
    assert found == {*differences.UNSPLIT_5.get(pair[0].name, ())}
    assert exported.get_vocab() == base.get_vocab()
    assert exported.bos_token_id == base.bos_token_id
    assert exported.eos_token_id == base.eos_token_id
    assert base.pad_token_id in (None, exported.pad_token_id)
    assert exported.padding_side == base.padding_side


def test_files_are_the_bases_byte_for_byte_and_only_the_config_is_changed(pair):
    base, exported = pair
    own = {path.name for path in base.iterdir()}
    changed = {"tokenizer_config.json"}
    for name in own - changed:
        assert (exported / name).read_bytes() == (base / name).read_bytes(), name
    added = {path.name for path in exported.iterdir()} - own
    expected = {"chat_template.jinja"}
    if base.name.endswith("-model"):
        expected.add("tokenizer.json")
    if base.name in SAVED_BY_5:
        expected.add("special_tokens_map.json")
    assert added == expected
    before = read(base / "tokenizer_config.json")
    after = read(exported / "tokenizer_config.json")
    assert after["chat_template"] == (exported / "chat_template.jinja").read_text()
    assert not {"backend", "is_local"} & set(after)
    for key in set(before) & set(after) - {"pad_token", "tokenizer_class"}:
        if key != "added_tokens_decoder":
            assert after[key] == before[key], key
    assert after["tokenizer_class"] in (
        "PreTrainedTokenizerFast",
        "GemmaTokenizer",
        "Qwen2Tokenizer",
    )


def test_transformers_4_reads_the_same_tokenizer_and_renders_the_same(
    folders, tmp_path
):
    if not (TRANSFORMERS4 / "transformers").is_dir():
        missing = f"{TRANSFORMERS4} has no transformers 4; `make dev` puts it there."
        if pathlib.Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
            pytest.fail(missing)
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    request = {
        "texts": TEXTS,
        "chats": CHATS,
        "folders": {name: str(exported) for name, (_, exported) in folders.items()}
        | {f"base {name}": str(folders[name][0]) for name in WITH_JSON},
        "out": str(tmp_path / "found.json"),
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    script = pathlib.Path(__file__).parent / "transformers4_tokens.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "request.json"],
        env=os.environ
        | {"PYTHONPATH": str(TRANSFORMERS4), "USE_TF": "0", "USE_TORCH": "0"}
        | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for name, found in read(tmp_path / "found.json").items():
        base, exported = folders[name.removeprefix("base ")]
        vocabulary = vocab.load_vocabulary(base)
        listed = differences.OWN_FILE if name.startswith("base ") else {}
        expected = {*listed.get(base.name, ())}
        for encode, key in (
            (vocabulary.encode, "ids"),
            (vocabulary.encode_prompt, "begun"),
        ):
            theirs = dict(zip(TEXTS, found[key], strict=True))
            differing = differences.differing(TEXTS, encode, theirs.__getitem__)
            assert differing == expected, name
        assert found["inputs"] == ["attention_mask", "input_ids"]
        assert found["size"] == vocabulary.vocab_size
        if name.startswith("base "):
            continue
        ours = loaded(exported)
        special = [ours.bos_token_id, ours.eos_token_id, ours.pad_token_id]
        assert found["special"] == special
        render = {"output_lang": "Finnish", "tokenize": False}
        chats = [ours.apply_chat_template(chat, **render) for chat in CHATS]
        assert found["chats"] == chats


def test_a_models_own_spelling_is_kept(folders):
    _, exported = folders["llama2-model"]
    map_ = read(exported / "special_tokens_map.json")
    assert (map_["bos_token"], map_["eos_token"]) == ("<s>", "</s>")
    config = read(exported / "tokenizer_config.json")
    assert config["bos_token"]["content"] == "<s>"
    assert config["model_max_length"] > 2048


def test_a_bare_sentencepiece_model_is_enough(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(kinds.llama2_model())
    files = tokenizer_lib.from_folder(tmp_path, PROMPT, 99)
    assert tokenizer_lib.from_folder(tmp_path, PROMPT, 99) == files
    config = json.loads(files["tokenizer_config.json"])
    assert config["model_max_length"] == 99
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert json.loads(files["special_tokens_map.json"]) == names | {
        "pad_token": "<unk>"
    }


def test_names_that_only_the_map_has_are_written_to_the_config(folders, tmp_path):
    base = kinds.make("llama3", tmp_path / "base")
    config = read(base / "tokenizer_config.json")
    for name in ("bos_token", "eos_token"):
        del config[name]
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = loaded(write(tmp_path / "out", base))
    first = loaded(folders["llama3"][1])
    assert theirs.eos_token_id == first.eos_token_id == theirs.pad_token_id
    assert theirs.bos_token_id == first.bos_token_id
    assert theirs.chat_template == first.chat_template


def test_whether_bos_is_put_before_a_text_is_said_as_the_file_does_it(tmp_path):
    base = kinds.make("gemma", tmp_path / "base")
    record = read(base / "tokenizer.json")
    record["post_processor"] = None
    (base / "tokenizer.json").write_text(json.dumps(record))
    config = read(write(tmp_path / "out", base) / "tokenizer_config.json")
    assert config["add_bos_token"] is False
    assert "bos_token" not in config["chat_template"]
    assert vocab.load_vocabulary(base).bos_id is None


def test_gemmas_mask_is_said_to_be_special_beside_what_the_config_says(tmp_path):
    base = kinds.make("gemma", tmp_path / "base")
    config = read(base / "tokenizer_config.json")
    table = {"content": "<table>", "special": True}
    config["added_tokens_decoder"] = {"76": table, "4": {"content": "<mask>"}}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    exported = write(tmp_path / "out", base)
    decoder = read(exported / "tokenizer_config.json")["added_tokens_decoder"]
    special = {token["content"] for token in decoder.values() if token["special"]}
    text = kinds.GEMMA_TURNS
    assert special == {"<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<table>", *text}
    assert len(decoder) == len(read(base / "tokenizer.json")["added_tokens"])
    ids = vocab.load_vocabulary(base).encode("<table> <mask>")
    assert not {4, 76} & {*ids}


def test_a_folder_without_tokenizer_or_end_token_is_refused(folders, tmp_path):
    with pytest.raises(UserError, match=r"neither tokenizer\.json"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)
    base, _ = folders["llama3"]
    (tmp_path / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="eos_token"):
        tokenizer_lib.from_folder(tmp_path, PROMPT, 2048)


def test_a_tokenizer_with_code_of_its_own_is_refused(tmp_path):
    base = kinds.make("llama3", tmp_path)
    config = read(base / "tokenizer_config.json")
    config["auto_map"] = {"AutoTokenizer": ["code.Own", None]}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"tokenizer_config\.json: auto_map"):
        tokenizer_lib.from_folder(base, PROMPT, 2048)
