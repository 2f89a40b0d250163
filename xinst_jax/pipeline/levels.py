"""The rater's training data: good pairs, and the same pairs spoilt to fair and bad.

The paper trains its rater on three synthetic levels and does not say how they are made
(Li et al., 2024, figure of the method); here *good* is a pair as it is, and *fair* and
*bad* are made from it by the named functions of `corruptions`.

Length tells nothing. What a corruption puts in is as long as what it replaces; and
that a response which breaks off need not be shorter, a good one is shown without its
last sentence, where it has several. A corruption that would show is not used on the
pair, and its turn goes to another. A test trains a classifier on the lengths alone, for
each corruption, and requires chance of it.
"""

import collections
import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from xinst_jax.config import TextConfig
from xinst_jax.data.prompts import LABELS
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import corruptions, pair_pool, segment
from xinst_jax.pipeline.pair_pool import Nearness, Pair, Pool

NONE = "none"
"""The corruption's name of a pair that has none."""

SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in (
            "id",
            "pair",
            "lang",
            "instruction",
            "output",
            "label",
            "corruption",
            "split",
        )
    ]
)

_BAD, _FAIR, _GOOD = LABELS


def good_pairs(
    seed: Iterable[Mapping[str, str]], kept: Iterable[Mapping[str, str]] = ()
) -> list[Pair]:
    """The pairs taken for good: the seed, and what the last round kept, to train on.

    Args:
      seed: rows with id, lang, instruction, output and split.
      kept: rows with id, lang, instruction and output, none of them with the response
        of a held-out seed pair.
    """
    pairs = [
        Pair(row["id"], row["lang"], row["instruction"], row["output"], row["split"])
        for row in seed
    ]
    pairs += [
        Pair(row["id"], row["lang"], row["instruction"], row["output"], "train")
        for row in kept
    ]
    return pairs


def without_last_sentence(
    pair: Pair,
    languages: Mapping[str, Language],
    texts: TextConfig = segment.DEFAULT_TEXT,
) -> Pair:
    """The pair with its response up to the end of the last sentence but one.

    What is left off is the pair's `rest`. A response stays whole if more than half of
    it would be left off.

        blue = Pair("s1", "fi", "Why is the sky blue?", "Koska ilma. Niin.", "train")
        without_last_sentence(blue, BUILT_IN).output   # 'Koska ilma.'
    """
    text = pair.output
    shorter = segment.shorten(text, languages[pair.lang], len(text) - 1, texts)
    if shorter is None or 2 * len(shorter) < len(text):
        return pair
    rest = text[len(shorter) :]
    return dataclasses.replace(pair, output=shorter, rest=rest)


def make_levels(
    pairs: Sequence[Pair],
    *,
    seed: int,
    examples_per_pair: int = 2,
    embeddings_pe: np.ndarray | None = None,
    nearness: Nearness | None = None,
    boilerplate: Mapping[str, Sequence[str]] | None = None,
    languages: Mapping[str, Language] = BUILT_IN,
    texts: TextConfig = segment.DEFAULT_TEXT,
) -> list[dict[str, str]]:
    """Each pair as it is and spoilt, with its level: the rater's examples.

    All of a pair's rows are in its split, and what they borrow comes from pairs and
    registry entries of that split. In training the corruptions take turns; one that
    cannot be carried out leaves its turn to another. With an even `examples_per_pair`
    the three levels are equally common in every language. A held-out pair is spoilt in
    every way, so that each can be measured. What is made of a pair depends on the set
    of pairs and the seed, not on their order.

        blue = Pair("s1", "fi", "Why is the sky blue?", "Koska ilma ...", "train")
        make_levels([blue], seed=0)
        # [{'id': 's1/none/0', 'label': 'good', 'corruption': 'none', ...},
        #  {'id': 's1/boilerplate_response/0', 'label': 'bad',
        #   'output': 'Ilma | sinistä | ilma', ...},
        #  {'id': 's1/generic_instruction/0', 'label': 'fair',
        #   'instruction': 'Compose something interesting.', ...}]

    Args:
      pairs: the good pairs, each (lang, id) once.
      seed: of the PRNG.
      examples_per_pair: corrupted examples of each pair, half bad and half fair; an odd
        one out is bad and fair in turn. The good one is repeated to match each half.
      embeddings_pe: float32, unit rows: embeddings of the pairs' instructions, to tell
        neighbours by; hashed character n-grams by default.
      nearness: what the embeddings' cosines mean; by default that of the encoder in
        use, or of the n-grams.
      boilerplate: by language, texts known for menus and notices, such as what was
        rejected from the corpus; without them they are made of the response's words.
      languages: the pairs' languages by code.
      texts: which marks end a sentence, where a response is cut.

    Returns:
      Rows with the fields of `SCHEMA`, pair by pair.
    """
    if embeddings_pe is None:
        embeddings_pe = pair_pool.ngram_features([p.instruction for p in pairs])
        nearness = nearness or pair_pool.NGRAM_NEARNESS
    nearness = nearness or pair_pool.ENCODER_NEARNESS
    pairs = [without_last_sentence(pair, languages, texts) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda i: (pairs[i].lang, pairs[i].id))
    rows: dict[int, list[dict[str, str]]] = {}
    for split in ("train", "held_out"):
        members = [number for number in order if pairs[number].split == split]
        pool = Pool(
            [pairs[number] for number in members],
            embeddings_pe[members],
            nearness,
            boilerplate or {},
            held_out=split == "held_out",
            languages=languages,
            texts=texts,
        )
        turns = _turns(pool.pairs, seed)
        for index, number in enumerate(members):
            if pool.held_out:
                rows[number] = _held_out_levels(index, pool, seed)
            else:
                rows[number] = _train_levels(
                    index, pool, turns[index], seed, examples_per_pair
                )
    return [row for number in sorted(rows) for row in rows[number]]


def summary(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Examples by corruption, and held-out pairs that could not be spoilt, in words.

    {"examples": "none 4, cut_response 2, ...", "not_spoilt": "cut_response 1, ..."}

    Args:
      rows: what `make_levels` returned.
    """
    found = collections.Counter((row["split"], row["corruption"]) for row in rows)
    names = (*corruptions.BAD, *corruptions.FAIR)
    examples = {name: found["train", name] for name in (NONE, *names)}
    whole = found["held_out", NONE]
    missing = {name: whole - found["held_out", name] for name in names}
    words = {
        "examples": ", ".join(f"{name} {rows}" for name, rows in examples.items()),
        "not_spoilt": ", ".join(f"{name} {n}" for name, n in missing.items() if n),
    }
    return {name: text for name, text in words.items() if text}


def _turns(pairs: Sequence[Pair], seed: int) -> list[int]:
    """Each pair's turn: languages after one another, each in an order by digests."""
    keys = [
        (pair.lang, hashlib.sha256(f"{seed}/{pair.lang}/{pair.id}".encode()).digest())
        for pair in pairs
    ]
    turns = [0] * len(pairs)
    for turn, index in enumerate(sorted(range(len(pairs)), key=lambda i: keys[i])):
        turns[index] = turn
    return turns


def _train_levels(
    index: int, pool: Pool, turn: int, seed: int, examples_per_pair: int
) -> list[dict[str, str]]:
    """The rows of a pair to train on: good ones, bad ones, fair ones."""
    odd = examples_per_pair % 2
    bad = examples_per_pair // 2 + (odd if turn % 2 == 0 else 0)
    # The fair corruptions' turns are shifted every time that both begin anew together,
    # so that each of the one meets each of the other.
    shifted = turn + turn // math.lcm(len(corruptions.BAD), len(corruptions.FAIR))
    plan = [(_BAD, corruptions.BAD, turn, number) for number in range(bad)]
    plan += [
        (_FAIR, corruptions.FAIR, shifted, number)
        for number in range(examples_per_pair - bad)
    ]
    rows = [
        _good(pool.pairs[index], number)
        for number in range(max(1, examples_per_pair // 2))
    ]
    for label, registry, first, number in plan:
        for name in _choices(pool.pairs[index], list(registry), first + number, seed):
            row = _spoilt(index, pool, label, registry, name, number, seed)
            if row is not None:
                rows.append(row)
                break
    return rows


def _choices(pair: Pair, names: list[str], turn: int, seed: int) -> list[str]:
    """The name whose turn it is, then the others in an order drawn for the pair."""
    name = names[turn % len(names)]
    rng = pair_pool.generator(seed, pair.lang, pair.id, "instead of", name)
    others = [other for other in names if other != name]
    return [name, *(others[place] for place in rng.permutation(len(others)))]


def _held_out_levels(index: int, pool: Pool, seed: int) -> list[dict[str, str]]:
    """The rows of a pair to measure by: the good one, and each corruption once."""
    plan = [(_BAD, corruptions.BAD, name) for name in corruptions.BAD]
    plan += [(_FAIR, corruptions.FAIR, name) for name in corruptions.FAIR]
    spoilt = [_spoilt(index, pool, *corruption, 0, seed) for corruption in plan]
    return [_good(pool.pairs[index], 0), *(row for row in spoilt if row is not None)]


def _spoilt(
    index: int,
    pool: Pool,
    label: str,
    registry: Mapping[str, corruptions.Corruption],
    name: str,
    number: int,
    seed: int,
) -> dict[str, str] | None:
    """The pair's row by one corruption; None where it cannot be carried out."""
    pair = pool.pairs[index]
    rng = pair_pool.generator(seed, pair.lang, pair.id, name, str(number))
    spoilt = registry[name](index, pool, rng)
    if spoilt is None or spoilt == (pair.instruction, pair.output):
        return None
    return _row(pair, label, name, number, *spoilt)


def _good(pair: Pair, number: int) -> dict[str, str]:
    return _row(pair, _GOOD, NONE, number, pair.instruction, pair.output)


def _row(
    pair: Pair, label: str, corruption: str, number: int, instruction: str, output: str
) -> dict[str, str]:
    fields = dataclasses.asdict(pair) | {"pair": pair.id, "label": label}
    fields |= {"instruction": instruction, "output": output, "corruption": corruption}
    del fields["rest"]
    return fields | {"id": f"{pair.id}/{corruption}/{number}"}
