"""The directories and the tokenizer that the tasks' tests read."""

import pytest

from tests.data.two_languages import LENGTH, SIZES, pair_rows, schema_of, text
from xinst_jax import shards
from xinst_jax.config import TokenizerConfig
from xinst_jax.data import prompts, train_tokenizer, vocab


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Directories as the stages write them, two languages, several shards."""
    home = tmp_path_factory.mktemp("run")
    labelled = []
    for code in SIZES:
        rows = pair_rows(code)
        shards.write_shards(home / "pairs" / code, rows, schema_of(rows), 7)
        labelled += pair_rows(code, labels=True)
        documents = [
            {"id": f"{code}-{i // 2}#{i % 2}", "lang": code, "text": text(code, i, 60)}
            for i in range(SIZES[code])
        ]
        corpus = home / "corpus" / code
        shards.write_shards(corpus, documents, schema_of(documents), 7)
        dataset = [
            {
                "id": f"web-{code}-{i}",
                "lang": code,
                "instruction": f"Web {i}.",
                "output": text(code, 1000 + i),
                "score": i / SIZES[code],
                "weight": float(i % 4),
            }
            for i in range(SIZES[code])
        ]
        texts = [
            row | {"text": f"{row['instruction']}\n\n{row['output']}"} for row in rows
        ]
        shards.write_shards(home / "texts" / code, texts, schema_of(texts), 7)
        shards.write_shards(home / "dataset" / code, dataset, schema_of(dataset), 7)
    shards.write_shards(home / "levels", labelled, schema_of(labelled), 11)
    return home


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocab") / "tokenizer.model"
    texts = [text(code, i) for code in SIZES for i in range(60)]
    prompt_texts = [
        prompts.rate("a", "b", "Finnish"),
        prompts.answer("a", "Finnish", True),
    ]
    train_tokenizer.train_sentencepiece(
        [*texts, *prompt_texts * 20], path, TokenizerConfig(vocab_size=600)
    )
    return vocab.load_vocabulary(path)


@pytest.fixture
def settings():
    return {"length": LENGTH, "temperature": 1.0}
