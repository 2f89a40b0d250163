"""Folders that cannot be imported: refused at once, with file and tensor named."""

import dataclasses
import json
import os
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import sentencepiece
import tokenizers

from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf import header
from xinst_jax.hf import safetensors as safetensors_lib
from xinst_jax.hf.config import SpecialIds
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets

RULES = ShardingRules()
MODEL = presets.tiny(vocab_size=40, tie_embeddings=False)
NORM = "model.norm.weight"
WEIGHTS = safetensors_lib.SINGLE


def mesh() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def random_params():
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jax.device_put(
            rng.normal(size=leaf.shape).astype(leaf.dtype), leaf.sharding
        ),
        decoder.abstract_params(MODEL, RULES, mesh()),
    )


def export(folder: pathlib.Path, shard_bytes: int) -> pathlib.Path:
    words = tokenizers.models.WordLevel({f"w{i}": i for i in range(40)}, unk_token="w0")
    folder_lib.export_folder(
        folder,
        random_params(),
        MODEL,
        dtype="float32",
        vocab_size=40,
        special=SpecialIds(bos=1, stops=(2,), pad=0),
        tokenizer={"tokenizer.json": tokenizers.Tokenizer(words).to_str().encode()},
        card="",
        shard_bytes=shard_bytes,
    )
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(tmp_path_factory.mktemp("good") / "model", 10**9)


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "model")


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    return export(tmp_path_factory.mktemp("good") / "shards", 30_000)


@pytest.fixture
def shards(divided, tmp_path):
    """A folder of several weights files."""
    return shutil.copytree(divided, tmp_path / "shards")


def load(folder: pathlib.Path):
    model = config_lib.read(folder)
    model = dataclasses.replace(model, compute_dtype="float32")
    return folder_lib.import_params(folder, model, RULES, mesh())


def rewrite(change):
    """Changes the folder's tensors."""

    def break_it(folder: pathlib.Path) -> None:
        tensors = safetensors.numpy.load_file(folder / WEIGHTS)
        change(tensors)
        safetensors.numpy.save_file(tensors, folder / WEIGHTS)

    return break_it


def configured(file="config.json", **changes):
    """Changes a record of the folder, its config.json if no other is named."""

    def break_it(folder: pathlib.Path) -> None:
        path = folder / file
        record = json.loads(path.read_bytes()) if path.is_file() else {}
        path.write_text(json.dumps(record | changes))

    return break_it


def index(shard: str):
    def break_it(folder: pathlib.Path) -> None:
        (folder / WEIGHTS).rename(folder / "whole.safetensors")
        record = {"weight_map": {NORM: shard}}
        (folder / safetensors_lib.INDEX).write_text(json.dumps(record))

    return break_it


def truncate(folder: pathlib.Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-10])


def pickle_only(folder: pathlib.Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def without_blocks(tensors) -> None:
    for name in [name for name in tensors if "layers.1." in name]:
        del tensors[name]


def words(count: int, *special: str):
    """Another tokenizer.json, of so many words and these special tokens."""

    def break_it(folder: pathlib.Path) -> None:
        vocabulary = {f"w{index}": index for index in range(count)}
        model = tokenizers.models.WordLevel(vocabulary, unk_token="w0")
        tokenizer = tokenizers.Tokenizer(model)
        tokenizer.add_special_tokens([*special])
        tokenizer.save(str(folder / "tokenizer.json"))

    return break_it


def of(tensor: np.ndarray):
    return rewrite(lambda tensors: tensors.update({NORM: tensor}))


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (pickle_only, r"pickled files \(pytorch_model\.bin\)"),
        (lambda f: (f / WEIGHTS).unlink(), "neither model.safetensors"),
        (lambda f: (f / "config.json").unlink(), r"config\.json does not exist"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
        (truncate, r"model\.safetensors is not a whole safetensors file"),
        (index("gone.safetensors"), f"gone.safetensors for the tensor {NORM}, which"),
        (index("../up.safetensors"), f"'../up.safetensors' for the tensor {NORM}"),
        (index("/up.safetensors"), f"'/up.safetensors' for the tensor {NORM}"),
        (index("whole.safetensors"), "disagree about: .* and 12 more"),
        (
            lambda f: (f / safetensors_lib.INDEX).write_text("{}"),
            r"both model\.safetensors and model\.safetensors\.index\.json",
        ),
        (rewrite(lambda t: t.pop(NORM)), rf"Missing tensors: {NORM}\. Left over: none"),
        (rewrite(without_blocks), "Missing tensors: .* and 1 more. Left over: none"),
        (rewrite(lambda t: t.update(extra=np.ones(2))), r"Left over: extra\."),
        (of(np.ones(7, np.float32)), rf"{NORM} has shape \(7,\), expected \(32,\)"),
        (of(np.ones(32, np.int8)), rf"model\.safetensors: the tensor {NORM} .* I8;"),
        (of(np.ones(32, ml_dtypes.float8_e4m3fn)), rf"{NORM} is of the type F8_E4M3;"),
        (configured(hidden_size=64), r"model\.embed_tokens\.weight has shape \(40, 32"),
        (configured(num_hidden_layers=3), r"Missing tensors: model\.layers\.2\.input"),
        (configured(vocab_size=48), r"embed_tokens\.weight has shape .* \(48, 32\)"),
        (configured(tie_word_embeddings=True), r"lm_head\.weight differs from model\."),
        (configured(auto_map={"AutoModel": "x.Y"}), r"config\.json: .*auto_map"),
        (words(41), r"tokenizer\.json has the id 40, but the embedding only 40 rows"),
        (
            configured("generation_config.json", pad_token_id=40),
            r"pads a text .* has the id 40",
        ),
        (
            configured("generation_config.json", eos_token_id=[2, 40]),
            r"ends .* has the id 40",
        ),
        (
            configured("generation_config.json", eos_token_id="w2"),
            r"generation_config\.json: eos_token_id = 'w2'; expected an id",
        ),
        (
            configured("tokenizer_config.json", pad_token="w40"),
            r"tokenizer_config\.json names 'w40' as pad_token, which is not in",
        ),
        (
            lambda f: (f / "tokenizer.json").write_text("{}"),
            r"tokenizer\.json cannot be read",
        ),
    ],
)
def test_a_bad_folder_is_refused_with_its_fault_named(folder, break_it, named):
    break_it(folder)
    with pytest.raises(UserError, match=named) as error:
        load(folder)
    assert str(folder) in str(error.value)


def test_the_folders_were_good(folder, shards):
    load(folder)
    load(shards)


def shard_of(folder: pathlib.Path, tensor: str) -> pathlib.Path:
    record = json.loads((folder / safetensors_lib.INDEX).read_bytes())
    return folder / record["weight_map"][tensor]


def change_shard(folder: pathlib.Path, tensor: str, **changes) -> None:
    """Changes tensors of the shard that holds one; None removes a tensor."""
    path = shard_of(folder, tensor)
    tensors = safetensors.numpy.load_file(path) | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    safetensors.numpy.save_file(kept, path)
    index = folder / safetensors_lib.INDEX
    record = json.loads(index.read_bytes())
    others = {n: f for n, f in record["weight_map"].items() if f != path.name}
    record["weight_map"] = others | dict.fromkeys(kept, path.name)
    index.write_text(json.dumps(record))


QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("value", [np.ones((7, 3), np.float32), np.ones(2, np.int8)])
def test_a_tensor_that_is_wrong_is_named_with_its_shard(shards, value):
    change_shard(shards, QUERY, **{QUERY: value})
    with pytest.raises(UserError, match=f"the tensor {QUERY} ") as error:
        load(shards)
    assert str(error.value).startswith(f"{shard_of(shards, QUERY)}: ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({QUERY: None}, f"Missing tensors: {QUERY}. Left over: none."),
        ({"extra": np.ones(2)}, "Missing tensors: none. Left over: extra."),
    ],
)
def test_other_tensors_are_named_with_the_index_and_the_config(shards, changes, told):
    change_shard(shards, QUERY, **changes)
    with pytest.raises(UserError) as error:
        load(shards)
    assert str(error.value) == (
        f"{shards / safetensors_lib.INDEX} has other tensors than expected. {told} "
        f"Compare {shards / 'config.json'} with the weights."
    )


def test_the_first_tensor_that_a_truncated_shard_lacks_is_named(shards):
    path = shard_of(shards, QUERY)
    entries = header.read(path)
    position = [*entries].index(QUERY)
    assert 0 < position < len(entries) - 1
    os.truncate(path, entries[QUERY].start + 1)
    with pytest.raises(UserError, match=f"that is not whole is {QUERY}. ") as error:
        load(shards)
    assert str(error.value).startswith(f"{path} is not a whole safetensors file")


def test_the_embedding_that_a_tokenizer_does_not_fit_is_named_with_its_shard(shards):
    words(41)(shards)
    name = "model.embed_tokens.weight"
    with pytest.raises(UserError) as error:
        load(shards)
    assert str(error.value).startswith(
        f"{shards / 'tokenizer.json'} has the id 40, but the embedding only 40 rows "
        f"({name} in {shard_of(shards, name)}): "
    )


def tied(folder: pathlib.Path, change=lambda tensor: tensor) -> None:
    """Makes the folder a tied model's, with a changed embedding as its head."""

    def change_head(tensors) -> None:
        embedding = tensors["model.embed_tokens.weight"]
        embedding[3, 5] = np.nan
        tensors["lm_head.weight"] = change(embedding)

    configured(tie_word_embeddings=True)(folder)
    rewrite(change_head)(folder)


def test_a_tied_models_head_may_be_there_as_a_copy_of_the_embedding(folder):
    tied(folder)
    assert "head" not in load(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (np.negative, r"lm_head\.weight differs from model\.embed_tokens\.weight"),
        (np.float16, r"lm_head\.weight differs from model\.embed_tokens\.weight"),
        (lambda tensor: tensor[:8], r"lm_head\.weight has shape \(8, 32\)"),
        (lambda tensor: tensor[0, 0], r"lm_head\.weight has shape \(\)"),
    ],
)
def test_a_tied_models_head_that_is_no_copy_is_refused(folder, change, named):
    tied(folder, lambda tensor: np.asarray(change(tensor)))
    with pytest.raises(UserError, match=named):
        load(folder)


def test_old_rotary_buffers_are_passed_over(folder):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(lambda tensors: tensors.update({name: np.ones(4, np.float32)}))(folder)
    load(folder)


def test_special_tokens_that_the_model_does_not_name_may_have_no_row(folder):
    words(40, "<image>")(folder)
    load(folder)
    configured("tokenizer_config.json", pad_token="<image>")(folder)
    with pytest.raises(UserError, match=r"pads a text .* has the id 40"):
        load(folder)


@pytest.mark.parametrize(("size", "added"), [(41, None), (40, {"<pad>": 40})])
def test_a_sentencepiece_model_larger_than_the_embedding_is_refused(
    folder, size, added
):
    (folder / "tokenizer.json").unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the sea is wide and blue", "a bee sings"] * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=size,
        model_type="bpe",
        minloglevel=2,
    )
    if added:
        load(folder)
        (folder / "added_tokens.json").write_text(json.dumps(added))
        load(folder)
        configured("tokenizer_config.json", pad_token="<pad>")(folder)
    with pytest.raises(UserError, match="has the id 40, but the embedding only 40"):
        load(folder)
