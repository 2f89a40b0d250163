"""The README of an exported model and of an assembled dataset: YAML, then text."""

import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence

from huggingface_hub import DatasetCardData, ModelCard, ModelCardData

_METHOD = (
    "[X-Instruction](https://aclanthology.org/2024.findings-acl.30) (Li et al., "
    "Findings of ACL 2024)"
)
_CITATION = """```bibtex
@inproceedings{li-etal-2024-x,
  title = "{X}-Instruction: Aligning Language Model in Low-resource Languages with
           Self-curated Cross-lingual Instructions",
  author = "Li, Chong and others",
  booktitle = "Findings of the Association for Computational Linguistics: ACL 2024",
  year = "2024"
}
```"""
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


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


def model_card(
    *,
    name: str,
    languages: Mapping[str, str],
    license: str,
    base_model: str,
    datasets: Sequence[str],
    rows: Mapping[str, int],
    prompt: str,
    figures: Mapping[str, str],
    adapter: bool = False,
) -> str:
    """The README.md of a tuned model.

    Args:
      name: the model's name.
      languages: English name of each language it answers in, by code.
      license: a licence identifier of the Hugging Face hub.
      base_model: what it was tuned from, or empty if it was trained from scratch.
      datasets: names of the datasets it was tuned on.
      rows: pairs it was tuned on, by language code.
      prompt: the prompt, with its slots spelled out.
      figures: what was measured, in words: {'held-out loss': '2.31'}.
      adapter: whether the folder holds an adapter to the base model, for peft.
    """
    relation = "adapter" if adapter else "finetune"
    library = "peft" if adapter else "transformers"
    loader = "AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM"
    imports = {
        "transformers": f"from transformers import {loader}, AutoTokenizer",
        "peft": f"from peft import {loader}\nfrom transformers import AutoTokenizer",
    }
    data = ModelCardData(
        language=["en", *languages],
        license=license,
        library_name=library,
        pipeline_tag="text-generation",
        base_model=base_model or None,
        datasets=list(datasets) or None,
        tags=["cross-lingual", "instruction-tuning", "jax"],
        **({"base_model_relation": relation} if base_model else {}),
    )
    origin = f"tuned from `{base_model}`" if base_model else "trained from scratch"
    example = next(iter(languages.values()), "English")
    built_with = "\n\nBuilt with Meta Llama 3." if license.startswith("llama3") else ""
    return _card(
        data,
        f"""# {name}

A language model that is asked in English and answers in {_listed(languages)}.
It was {origin} by the method of {_METHOD}.{built_with}

## Use

```python
{imports[library]}

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = {loader}.from_pretrained("PATH")
inputs = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "Describe the sea."}}],
    output_lang="{example}",
    return_tensors="pt",
    return_dict=True,
)
answer = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```

The prompt that the chat template writes:

```
{prompt}
```

## Training data

{_table(("language", "pairs"), [(languages[k], f"{n:,}") for k, n in rows.items()])}

## Figures

{_table(("measure", "value"), list(figures.items()))}

## Limits

The pairs it learned from were made and rated by models and may be wrong; it was not
tuned to be safe. Do not rely on its answers where a mistake would do harm.

## Citation

{_CITATION}
""",
    )


def license_of(folder: pathlib.Path) -> str | None:
    """The licence that a model folder's own card names, or None."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    return ModelCard(text, ignore_metadata_errors=True).data.get("license")


def dataset_card(
    *,
    name: str,
    languages: Mapping[str, str],
    license: str,
    files: str,
    statistics: Mapping[str, Lengths],
    stages: Sequence[tuple[str, int, int, Mapping[str, int]]],
    sources: Mapping[str, int],
    samples: Mapping[str, tuple[str, str]],
) -> str:
    """The README.md of an assembled dataset.

    Args:
      name: the dataset's name.
      languages: English name of each language, by code.
      license: a licence identifier of the Hugging Face hub.
      files: pattern of the Parquet files, with '{lang}' for the code.
      statistics: lengths by language code.
      stages: name, rows in, rows out and dropped rows by reason of each stage.
      sources: rows by origin and licence of the response.
      samples: an instruction and its response, by language code.
    """
    configs = [("all", files.replace("{lang}", "*"))]
    configs += [(code, files.replace("{lang}", code)) for code in languages]
    data = DatasetCardData(
        language=["en", *languages],
        license=license,
        pretty_name=name,
        annotations_creators=["machine-generated"],
        language_creators=["found"],
        multilinguality=["multilingual"],
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
    return _card(
        data,
        f"""# {name}

English instructions with responses in {_listed(languages)}. The responses are natural
text; a model wrote the instruction that each answers, and a trained rater chose among
the pairs, by the method of {_METHOD}.

## Pairs

Lengths in characters, mean ± standard deviation.

{_lengths_table(languages, statistics)}

## How they were made

{_stages_table(stages)}

## Where the responses come from

{_table(("origin and licence", "rows"), [(k, f"{n:,}") for k, n in sources.items()])}

## One of each

{_samples(languages, samples)}

## Limits

An instruction was written to fit a response that was there first: it may ask for less
or more than the response gives. The responses are as true as the pages they come from.

## Citation

{_CITATION}
""",
    )


def _card(data: ModelCardData | DatasetCardData, text: str) -> str:
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def _listed(languages: Mapping[str, str]) -> str:
    *most, last = languages.values()
    return f"{', '.join(most)} and {last}" if most else last


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>10M")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)


def _cell(text: str) -> str:
    return _line(text.replace("|", "\\|"))


def _line(text: str) -> str:
    return " ".join(text.split())


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
    return _table(("language", "instruction", "output", "pairs"), rows)


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
    return _table(("stage", "in", "out", "dropped"), rows)


def _samples(
    languages: Mapping[str, str], samples: Mapping[str, tuple[str, str]]
) -> str:
    return "\n\n".join(
        f"**{languages[code]}**\n\n> {_line(instruction)}\n\n{_line(output)}"
        for code, (instruction, output) in samples.items()
    )
