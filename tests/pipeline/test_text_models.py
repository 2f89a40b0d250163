"""A trained model as a function on text, with a tokenizer larger than its embedding."""

import json
import pathlib

import jax
import pytest
import tokenizers

from xinst_jax import shards
from xinst_jax.config import DecodeConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.models import decoder, presets
from xinst_jax.pipeline import seed, text_models, training
from xinst_jax.pipeline.workspace import Workspace

ROWS = 64


def workspace(workdir: pathlib.Path, **named: str) -> Workspace:
    """A run whose tokenizer has a special token, '<image>', beyond the model's rows."""
    words = {f"w{index}": index for index in range(ROWS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<image>"])
    folder = workdir / "tokenizer"
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "w2", **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = presets.tiny(vocab_size=ROWS, num_layers=1, max_length=2048)
    return Workspace(RunConfig(name="x", languages=("fi",), model=model), workdir)


def test_a_special_token_that_no_text_becomes_needs_no_row(tmp_path, monkeypatch):
    run = workspace(tmp_path)
    assert run.vocabulary.vocab_size == ROWS + 1
    params = decoder.init_params(run.model, run.rules, run.mesh, jax.random.key(0))
    monkeypatch.setattr(training, "trained_params", lambda *_: params)
    config = DecodeConfig(max_new_tokens=4, batch_rows=8, prompt_buckets=(8,))
    engine = text_models.engine(run, "model", config)
    prompt = run.vocabulary.encode_prompt("w5 <image> w63")
    assert prompt == [5, 0, 63]
    [generation] = engine.generate([prompt], ["a"], seed=0)
    assert all(token < ROWS for token in generation.tokens)


@pytest.mark.parametrize("role", ["eos_token", "pad_token"])
def test_a_token_with_a_use_needs_a_row(tmp_path, role):
    with pytest.raises(UserError, match=r"needs 65 rows, but .* has only 64"):
        _ = workspace(tmp_path, **{role: "<image>"}).model


def test_a_held_out_pair_whose_prompt_leaves_no_room_is_left_out_and_counted(tmp_path):
    run = workspace(tmp_path)
    length = run.run.sft.length
    pairs = {
        "short": ("w5", "w6 w7"),
        "long": ("w5 " * length, "w6"),
        "train": ("", ""),
    }
    rows = [
        dict.fromkeys(seed.SCHEMA.names, "")
        | {"id": id, "lang": "fi", "instruction": asked, "output": answered}
        | {"split": seed.TRAIN if id == "train" else seed.HELD_OUT}
        for id, (asked, answered) in pairs.items()
    ]
    shards.write_shards(run.path("seed") / "fi", rows, seed.SCHEMA, 10)
    found, left_out = text_models.held_out_pairs(run, "fi")
    assert [(row["id"], row["output"]) for row in found] == [("short", "w6 w7")]
    assert left_out == 1
