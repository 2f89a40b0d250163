"""The tasks hold what their names say."""

import collections
import itertools

import numpy as np
import pytest
import seqio

from tests.data.two_languages import (
    LENGTH,
    SIZES,
    decoded,
    languages_of,
    pair_rows,
    schema_of,
    text,
)
from xinst_jax import shards
from xinst_jax.data import (
    exchanges,
    prompts,
    stream,
    tasks,
)
from xinst_jax.data.examples import example
from xinst_jax.data.row_source import Part, RowSource
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN


def test_reverse_asks_for_the_instruction_of_a_response(home, vocabulary):
    tasks.register_reverse(
        home / "pairs", list(SIZES), vocabulary, length=512, temperature=1.0
    )
    pairs = list(stream.examples(tasks.REVERSE, "validation", passes=1.0, seed=0))
    held_out = [
        row for code in SIZES for row in pair_rows(code) if row["split"] == "held_out"
    ]
    assert decoded(vocabulary, pairs) == [
        (prompts.reverse(row["output"]), row["instruction"]) for row in held_out
    ]
    assert [(pair.lang, pair.id) for pair in pairs] == [
        (row["lang"], row["id"]) for row in held_out
    ]


def test_rate_reads_a_directory_without_languages_and_answers_labels(home, vocabulary):
    tasks.register_rate(
        home / "levels", languages_of(SIZES), vocabulary, length=512, temperature=1.0
    )
    found = decoded(
        vocabulary, stream.examples(tasks.RATE, "train", passes=1.0, seed=0)
    )
    rows = [row for code in SIZES for row in pair_rows(code, labels=True)]
    expected = {
        (
            prompts.rate(row["instruction"], row["output"], BUILT_IN[row["lang"]].name),
            row["label"],
        )
        for row in rows
        if row["split"] == "train"
    }
    assert set(found) <= expected and {label for _, label in found} == set(
        prompts.LABELS
    )


def test_sft_asks_for_the_language_and_for_the_style_of_seed_pairs(home, vocabulary):
    languages = {code: BUILT_IN[code] for code in SIZES}
    tasks.register_sft(
        home / "dataset",
        home / "pairs",
        languages,
        vocabulary,
        length=512,
        temperature=1.0,
    )
    drawn = decoded(vocabulary, stream.examples(tasks.SFT, "train", passes=3.0, seed=0))
    styles = collections.Counter()
    for prompt, response in drawn:
        code = "fi" if "Finnish" in prompt else "sw"
        seed_style = prompt.count("Ask ") == 1
        instruction = prompt.split("### Instruction:\n")[1].split(" Answer in")[0]
        name = languages[code].name
        assert prompt == prompts.answer(instruction, name, seed_style)
        number = int(instruction.rstrip(".").split()[-1])
        assert response == text(code, number + (0 if seed_style else 1000))
        styles[seed_style] += 1
    assert min(styles.values()) > 50
    held_out = decoded(
        vocabulary, stream.examples(tasks.SFT, "validation", passes=1.0, seed=0)
    )
    assert len(held_out) == 6 and all("style of an AI" in p for p, _ in held_out)


def test_rows_below_the_score_are_left_out(home, vocabulary):
    languages = {code: BUILT_IN[code] for code in SIZES}
    for least, expected in ((None, 48), (0.5, 24)):
        tasks.register_sft(
            home / "dataset",
            home / "pairs",
            languages,
            vocabulary,
            length=512,
            temperature=1.0,
            min_score=least,
        )
        mixture = seqio.get_mixture_or_task(tasks.SFT)
        assert mixture.num_input_examples("train") == expected + 42


def test_pieces_of_a_text_predict_each_token_once(home, vocabulary, settings):
    tasks.register_lm(home / "corpus", home / "texts", ["sw"], vocabulary, **settings)
    held_out, drawn = (
        [
            pair.response_ids
            for pair in stream.examples(tasks.LM, split, passes=1, seed=0)
        ]
        for split in ("validation", "train")
    )
    texts = [vocabulary.encode(text("sw", i, 60)) for i in range(SIZES["sw"])]
    texts += [
        vocabulary.encode(f"{row['instruction']}\n\n{row['output']}")
        for row in pair_rows("sw")
    ]
    expected = collections.Counter()
    for ids in texts:
        for start in range(0, len(ids), LENGTH):
            expected[tuple(ids[start : start + LENGTH])] += 1
    assert collections.Counter(map(tuple, held_out + drawn)) == expected
    bos, eos = vocabulary.bos_id, vocabulary.eos_id
    ends = 0
    for piece in held_out + drawn:
        made = example([], piece, bos, eos, LENGTH)
        targets = made.targets_t[made.loss_weights_t > 0].tolist()
        assert targets in (piece, [*piece, eos])
        ends += targets[-1] == eos
    assert ends == sum(len(ids) % LENGTH != 0 for ids in texts)


def test_pieces_of_one_document_are_on_one_side(home, vocabulary, settings):
    tasks.register_lm(
        home / "corpus", home / "texts", list(SIZES), vocabulary, **settings
    )
    for task in seqio.get_mixture_or_task(tasks.LM).tasks:
        source = task.source
        sides = {}
        for split in source.splits:
            for row in (
                RowSource(
                    task.name[-2:],
                    [Part(home / "corpus", held_out_share=0.02)],
                    ["id"],
                )
                .get_dataset(split, shuffle=False)
                .as_numpy_iterator()
            ):
                document = row["id"].decode().split("#")[0]
                assert sides.setdefault(document, split) == split
        assert set(sides.values()) == {"train", "validation"}


def test_a_long_prompt_is_cut_inside_and_leaves_room(home, vocabulary):
    long = text("fi", 1, 400)
    for answer in ("Say it.", text("sw", 2, 10), text("sw", 2, 300)):
        exchange = exchanges.Exchange(long, prompts.reverse, answer)
        prompt, response = exchanges.encode(exchange, vocabulary, 256)
        shown = vocabulary.decode(prompt)
        inside = shown.split("### Text:\n")[1].split("\n\n### English")[0]
        assert long.startswith(inside) and shown == prompts.reverse(inside)
        made = example(prompt, response, 1, 2, 256)
        supervised = int(made.loss_weights_t.sum())
        assert supervised >= min(len(response) + 1, 128)
        assert len(prompt) > 256 - 1 - min(len(response), 128) - 8


def test_where_a_prompt_is_cut_does_not_tell_its_label(home, vocabulary):
    rows = [
        {
            "id": f"x-{i}",
            "lang": "fi",
            "instruction": "Tell.",
            "output": text("fi", 3, 400),
            "label": label,
            "split": "train",
        }
        for i, label in enumerate(prompts.LABELS)
    ]
    shards.write_shards(home / "long", rows, schema_of(rows), 10)
    tasks.register_rate(
        home / "long", languages_of(["fi"]), vocabulary, length=256, temperature=1.0
    )
    found = list(stream.examples(tasks.RATE, "train", passes=1.0, seed=0))
    assert len(found) == 3 and len({tuple(pair.prompt_ids) for pair in found}) == 1


def test_the_tasks_are_ordinary_seqio(home, vocabulary, settings):
    for _ in range(2):
        tasks.register_reverse(home / "pairs", list(SIZES), vocabulary, **settings)
    lengths = {"inputs": 64, "targets": 16}
    mixture = seqio.get_mixture_or_task("xinst_reverse")
    dataset = mixture.get_dataset(lengths, "train", shuffle=True, seed=3, num_epochs=1)
    for row in itertools.islice(dataset.as_numpy_iterator(), 5):
        assert set(row) == {"inputs", "targets"}
        assert row["inputs"].dtype == row["targets"].dtype == np.int32
        assert len(row["inputs"]) <= 64 and row["targets"][-1] == vocabulary.eos_id
    batches = seqio.get_dataset(
        "xinst_reverse",
        lengths,
        seqio.PrefixLMFeatureConverter(pack=False, bos_id=vocabulary.bos_id),
        "train",
        shuffle=True,
        seed=3,
    )
    row = next(batches.as_numpy_iterator())
    assert row["decoder_input_tokens"][0] == vocabulary.bos_id
    weights = row["decoder_loss_weights"].astype(bool)
    assert row["decoder_target_tokens"][weights][-1] == vocabulary.eos_id
    halves = [
        {
            tuple(row["targets"])
            for row in seqio.get_mixture_or_task("xinst_reverse_fi")
            .get_dataset(
                split="train", shuffle=False, shard_info=seqio.ShardInfo(index, 2)
            )
            .as_numpy_iterator()
        }
        for index in range(2)
    ]
    assert not halves[0] & halves[1] and len(halves[0] | halves[1]) == 35


def test_a_language_without_rows_is_left_out_and_none_at_all_is_an_error(
    home, vocabulary, settings
):
    rows = [row for row in pair_rows("sw") if row["split"] == "held_out"]
    for code in ("fi", "sw"):
        shards.write_shards(home / "few" / code, rows, schema_of(rows), 9)
    fi = pair_rows("fi")
    shards.write_shards(home / "some" / "fi", fi, schema_of(fi), 9)
    shards.write_shards(home / "some" / "sw", [], schema_of(fi), 9)
    tasks.register_reverse(home / "some", list(SIZES), vocabulary, **settings)
    names = [task.name for task in seqio.get_mixture_or_task(tasks.REVERSE).tasks]
    assert names == ["xinst_reverse_fi"]
    with pytest.raises(UserError, match="xinst_reverse has no row to train on"):
        tasks.register_reverse(home / "few", list(SIZES), vocabulary, **settings)
