"""The README of an assembled dataset: the hub's YAML, tables, and samples."""

import dataclasses
import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCardData

from xinst_jax.config import DecontaminationConfig
from xinst_jax.hf.cards import (
    CITATION,
    METHOD,
    listed,
    one_line,
    table,
    with_front_matter,
)
from xinst_jax.hf.rubric_card import coverage_table, rubric_section

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_SOURCES_SHOWN = 50


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long a language's pairs are, in characters, as in the paper's table.

    Attributes:
      rows: pairs.
      instruction_mean: mean length of an instruction.
      instruction_sd: its standard deviation over all pairs.
      output_mean: mean length of a response.
      output_sd: its standard deviation.
    """

    rows: int
    instruction_mean: float
    instruction_sd: float
    output_mean: float
    output_sd: float


@dataclasses.dataclass(frozen=True)
class Scores:
    """How many pairs a part of the rating's range holds.

    Attributes:
      low: where the part begins; it includes this score.
      high: where the next one begins; only the last part includes this score.
      rated: candidates of the last round with such a score.
      chosen: pairs of the dataset with such a score.
    """

    low: float
    high: float
    rated: int
    chosen: int


@dataclasses.dataclass(frozen=True)
class Contamination:
    """Rows that a stage left out for a piece of an evaluation set.

    Attributes:
      name: the set.
      stage: the stage.
      rows: rows by language code.
      n_grams: the commonest n-grams, each with its rows.
    """

    name: str
    stage: str
    rows: Mapping[str, int]
    n_grams: Sequence[tuple[str, int]]


@dataclasses.dataclass(frozen=True)
class Sample:
    """A pair that the card shows.

    Attributes:
      which: what it stands for: 'highest score'.
      score: its score.
      instruction: the instruction.
      output: the response, cut for showing.
    """

    which: str
    score: float
    instruction: str
    output: str


def lengths(instructions: Sequence[str], outputs: Sequence[str]) -> Lengths:
    """The lengths of a language's pairs.

    >>> found = lengths(["ab", "abcd"], ["x", "x"])
    >>> found.rows, found.instruction_mean, found.instruction_sd, found.output_sd
    (2, 3.0, 1.0, 0.0)
    """
    if not instructions:
        return Lengths(0, 0.0, 0.0, 0.0, 0.0)
    asked = [len(text) for text in instructions]
    answered = [len(text) for text in outputs]
    return Lengths(
        len(asked),
        statistics.fmean(asked),
        statistics.pstdev(asked),
        statistics.fmean(answered),
        statistics.pstdev(answered),
    )


def dataset_card(
    *,
    name: str,
    languages: Mapping[str, str],
    licences: Sequence[str],
    files: str,
    columns: Mapping[str, str],
    statistics: Mapping[str, Lengths],
    stages: Sequence[tuple[str, int, int, Mapping[str, int]]],
    evaluation_sets: Sequence[str],
    contamination: Sequence[Contamination],
    decontamination: DecontaminationConfig,
    rubric: Mapping[str, Any],
    scores: Sequence[Scores],
    coverage: Mapping[str, Mapping[str, Any]],
    variety: Mapping[str, Sequence[Mapping[str, Any]]],
    sources: Mapping[str, int],
    samples: Mapping[str, Sequence[Sample]],
    lineage: Mapping[str, str],
) -> str:
    """The README.md of an assembled dataset.

    Args:
      name: the dataset's name.
      languages: English name of each language that has rows, by code.
      licences: licence identifiers of the Hugging Face hub.
      files: pattern of the Parquet files, with '{lang}' for the code.
      columns: what each column holds.
      statistics: lengths by language code.
      stages: name, rows in, rows out and dropped rows by reason of each stage.
      evaluation_sets: names of the sets that texts and instructions were compared with.
      contamination: what was left out for it.
      decontamination: how much of an item was too much.
      rubric: what pairs were rated by; see `rubric_card.rubric_section`.
      scores: the ratings, part by part.
      coverage: of each language's clusters; see `rubric_card.coverage_table`.
      variety: by language code, how diverse the instructions are that were drawn, those
        of random samples of equal size, and all that were kept (which, rows,
        cluster_entropy, nearest_distance, vendi_score, distinct_verb_nouns,
        top_verb_share; None is not defined).
      sources: rows by origin and licence of the response, the commonest first.
      samples: pairs to show, by language code.
      lineage: what it was made from, in words: {'run': 'quickstart', ...}.
    """
    configs = [("all", files.replace("{lang}", "*"))]
    configs += [(code, files.replace("{lang}", code)) for code in languages]
    data = DatasetCardData(
        language=["en", *languages],
        license=licences[0] if len(licences) == 1 else list(licences),
        pretty_name=name,
        annotations_creators=["machine-generated"],
        language_creators=["found"],
        multilinguality=["multilingual"],
        source_datasets=["extended|other"],
        task_categories=["text-generation"],
        size_categories=[_size(sum(entry.rows for entry in statistics.values()))],
        tags=["synthetic", "cross-lingual", "instruction-tuning"],
        configs=[
            {
                "config_name": config,
                **({"default": True} if config == "all" else {}),
                "data_files": [{"split": "train", "path": path}],
            }
            for config, path in configs
        ],
    )
    example = next(iter(languages))
    return with_front_matter(
        data,
        f"""# {name}

English instructions with responses in {listed(languages)}. The responses are natural
text; a model wrote the instruction that each answers, and a trained rater chose among
the pairs, by the method of {METHOD}.

```python
import datasets

everything = datasets.load_dataset("PATH", split="train")
one_language = datasets.load_dataset("PATH", "{example}", split="train")
```

{table(("column", "what"), list(columns.items()))}

## Pairs

Lengths in characters, mean ± standard deviation.

{_lengths_table(languages, statistics)}

## How they were made

{_stages_table(stages)}

{table(("what", "which"), list(lineage.items()))}

## Evaluation sets

{_contamination(evaluation_sets, contamination, decontamination)}

## Ratings

A pair's score is the level that the rater expects of it: 0 is bad, 0.5 fair, 1 good.

{_scores_table(scores)}

{rubric_section(rubric, languages)}

## Diversity

{coverage_table(coverage, languages)}

What was drawn from the clusters of each language's instructions, beside five random
samples of the same size (their mean) and beside everything that was kept. Cluster
entropy is 1 where all clusters have the same share; nearest neighbour is the mean
cosine distance to the most similar other instruction, smaller for more rows; the Vendi
score is the number of wholly unlike instructions that they amount to; top verb is the
share of the commonest root verb.

{_variety_table(languages, variety)}

## Where the responses come from

{_sources_table(sources)}

## Samples

{_samples(languages, samples)}

## Limits

- An instruction was written to fit a response that was there first: it may ask for less
  or more than the response gives, or for something that is not there, such as a link.
- The responses are as true, as current and as fair as the pages they come from; nobody
  has checked them. They may name people, and hold what these would not want repeated.
- Instructions are in English only, written and rated by models; both repeat the habits
  of the seed pairs that they were trained on.
- Ratings order the pairs of one run. They are no measure to compare datasets by.

## Licence

Each row's column `license` says under what its response was published, as far as the
corpus says so; a row without one stands under whatever its source asks for. The
instructions are made by machine.

## Citation

Cite the corpora above as their licences ask, and the method:

{CITATION}
""",
    )


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>10M")


def _lengths_table(
    languages: Mapping[str, str], statistics: Mapping[str, Lengths]
) -> str:
    rows = [
        (
            f"{languages[code]} ({code})",
            f"{entry.instruction_mean:.1f} ± {entry.instruction_sd:.1f}",
            f"{entry.output_mean:.1f} ± {entry.output_sd:.1f}",
            f"{entry.rows:,}",
        )
        for code, entry in statistics.items()
    ]
    return table(("language", "instruction", "output", "pairs"), rows)


def _stages_table(stages: Sequence[tuple[str, int, int, Mapping[str, int]]]) -> str:
    rows = [
        (
            stage,
            f"{rows_in:,}",
            f"{rows_out:,}",
            ", ".join(f"{reason} {count:,}" for reason, count in dropped.items()),
        )
        for stage, rows_in, rows_out, dropped in stages
    ]
    return table(("stage", "in", "out", "dropped"), rows)


def _contamination(
    names: Sequence[str], found: Sequence[Contamination], lengths: DecontaminationConfig
) -> str:
    if not names:
        return "Texts and instructions were compared with no evaluation set."
    compared = (
        f"Texts and instructions were compared with {'; '.join(names)}. What shared "
        f"{lengths.gram_words} words in a row with an item of one (where words are not "
        f"spaced, {lengths.gram_chars} letters), had all of a shorter item of "
        f"{lengths.item_words} words ({lengths.item_chars} letters) or more, or was "
        "nothing but one that is shorter still, was left out."
    )
    if not found:
        return f"{compared} Nothing was."
    rows = [
        (
            one.name,
            one.stage,
            f"{sum(one.rows.values()):,}",
            ", ".join(f"{code} {count:,}" for code, count in one.rows.items()),
            ", ".join(f"“{gram}” {count:,}" for gram, count in one.n_grams),
        )
        for one in found
    ]
    head = ("set", "stage", "rows", "by language", "commonest n-grams")
    return f"{compared}\n\n{table(head, rows)}"


def _scores_table(scores: Sequence[Scores]) -> str:
    rows = [
        (f"{part.low:.1f} to {part.high:.1f}", f"{part.rated:,}", f"{part.chosen:,}")
        for part in scores
    ]
    return table(("score", "rated", "in the dataset"), rows)


def _variety_table(
    languages: Mapping[str, str], variety: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    forms = {
        "rows": ",.0f",
        "cluster_entropy": ".3f",
        "nearest_distance": ".3f",
        "vendi_score": ",.1f",
        "distinct_verb_nouns": ",.1f",
        "top_verb_share": ".1%",
    }
    rows = [
        (
            f"{languages[code]} ({code})",
            row["which"],
            *(shown(row[name], form) for name, form in forms.items()),
        )
        for code, part in variety.items()
        for row in part
    ]
    head = ("language", "which", *(name.replace("_", " ") for name in forms))
    return table(head, rows)


def _sources_table(sources: Mapping[str, int]) -> str:
    """The commonest origins by themselves, the others in one row."""
    counts = list(sources.items())
    rows = [(name, f"{count:,}") for name, count in counts[:_SOURCES_SHOWN]]
    others = counts[_SOURCES_SHOWN:]
    if others:
        total = sum(count for _, count in others)
        rows.append((f"{len(others):,} others", f"{total:,}"))
    return table(("origin and licence", "rows"), rows)


def _samples(
    languages: Mapping[str, str], samples: Mapping[str, Sequence[Sample]]
) -> str:
    return "\n\n".join(
        f"<details><summary>{languages[code]}</summary>\n\n"
        + "\n\n".join(
            f"{sample.which.capitalize()}, {sample.score:.3f}:\n\n"
            f"> {_shown(sample.instruction)}\n\n{_shown(sample.output)}"
            for sample in part
        )
        + "\n\n</details>"
        for code, part in samples.items()
    )


def _shown(text: str) -> str:
    """Text of the web as text: on one line, and no tag of it a tag of the card."""
    return html.escape(one_line(text), quote=False)
