"""The README of an exported model, and what every card is made of: YAML, then text."""

from collections.abc import Mapping, Sequence

from huggingface_hub import DatasetCardData, ModelCardData

from xinst_jax.hf.licences import TERMS, Licence

METHOD = (
    "[X-Instruction](https://aclanthology.org/2024.findings-acl.30) (Li et al., "
    "Findings of ACL 2024)"
)
CITATION = """```bibtex
@inproceedings{li-etal-2024-x,
  title = "{X}-Instruction: Aligning Language Model in Low-resource Languages with
           Self-curated Cross-lingual Instructions",
  author = "Li, Chong and others",
  booktitle = "Findings of the Association for Computational Linguistics: ACL 2024",
  year = "2024",
  url = "https://aclanthology.org/2024.findings-acl.30"
}
```"""

_LOADED_MODEL = """from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoModelForCausalLM.from_pretrained("PATH")"""
_LOADED_ADAPTER = """from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoPeftModelForCausalLM.from_pretrained("PATH")  # and its base model"""


def model_card(
    *,
    name: str,
    languages: Mapping[str, str],
    licence: Licence | None,
    base_model: str,
    datasets: Sequence[str],
    rows: Mapping[str, int],
    prompt: str,
    figures: Mapping[str, str],
    lineage: Mapping[str, str],
    adapter: bool = False,
    left_out: str = "",
) -> str:
    """The README.md of a tuned model.

    Args:
      name: the model's name.
      languages: English name of each language it answers in, by code.
      licence: the model's licence; None where it is not known.
      base_model: what it was tuned from, ORG/NAME where it is on the hub; empty if it
        was trained from scratch.
      datasets: names on the hub of the datasets it was tuned on.
      rows: pairs it was tuned on, by language code.
      prompt: the prompt, with its slots spelled out.
      figures: what was measured, in words: {'held-out loss': '2.31'}.
      lineage: what it was made from, in words: {'run': 'quickstart', ...}.
      adapter: whether the folder holds a LoRA adapter to the base and no whole model.
      left_out: what of the base model it was tuned without, in words; empty where it is
        the whole one.
    """
    on_hub = base_model.count("/") == 1
    relation = "adapter" if adapter else "finetune"
    data = ModelCardData(
        language=["en", *languages],
        **_licence_fields(licence),
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base_model if on_hub else None,
        datasets=list(datasets) or None,
        tags=["cross-lingual", "instruction-tuning", "jax"],
        **({"base_model_relation": relation} if on_hub else {}),
    )
    origin = "trained from scratch"
    if base_model:
        origin = f"tuned from `{base_model}`"
    if adapter:
        origin += ", as a LoRA adapter to it,"
    loaded = _LOADED_ADAPTER if adapter else _LOADED_MODEL
    example = next(iter(languages.values()), "English")
    pairs = [(languages[code], f"{count:,}") for code, count in rows.items()]
    return with_front_matter(
        data,
        f"""# {name}

A language model that is asked in English and answers in {listed(languages)}.
It was {origin} by the method of {METHOD}.
{_of_a_half(left_out, adapter)}
## Use

```python
{loaded}
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

{table(("language", "pairs"), pairs)}

A pair is an English instruction and a response in the language. Seed pairs are as their
source has them; the other responses are natural text, and a model wrote the instruction
that each answers.

## Figures

{table(("measure", "value"), list(figures.items()))}

Losses are in nats a token; held-out ones are of responses to seed pairs that were kept
out of the tuning.

## Lineage

{table(("what", "which"), list(lineage.items()))}

## Limits

- The pairs it learned from were made and rated by models, and some are wrong.
- It was not tuned to be safe, and no test of safety was made: it may repeat what is
  harmful, private or false in its training text and its base model's.
- A lower loss says that held-out responses surprise it less. It says nothing of whether
  an answer is true, or useful.
- An answer may come in another language than the one asked for.
- It was tuned on single questions and answers, not on conversations.

Do not rely on its answers where a mistake would do harm.

## Licence

{_licence_text(licence, base_model)}

## Citation

{CITATION}
""",
    )


def _of_a_half(left_out: str, adapter: bool) -> str:
    """A paragraph on a base model of which only the text half was tuned, or nothing."""
    if not left_out:
        return ""
    written = "this is its language model alone, which reads text"
    if adapter:
        written = "the adapter changes its language model alone"
    return (
        "\nThe base model also reads images. What it reads them with was left out of "
        f"the tuning ({left_out}): {written}.\n"
    )


def with_front_matter(data: ModelCardData | DatasetCardData, text: str) -> str:
    """A card: the data as YAML between two lines of dashes, then the text."""
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def listed(languages: Mapping[str, str]) -> str:
    """The languages in words.

    >>> listed({"fi": "Finnish", "ur": "Urdu", "th": "Thai"})
    'Finnish, Urdu and Thai'
    """
    *most, last = languages.values()
    return f"{', '.join(most)} and {last}" if most else last


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; what would break a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)


def one_line(text: str) -> str:
    """The text with every run of spaces and line ends as one space."""
    return " ".join(text.split())


def _cell(text: str) -> str:
    return one_line(text.replace("|", "\\|"))


def _licence_fields(licence: Licence | None) -> dict[str, str]:
    """The licence in the hub's fields; unknown is 'other', never a guess."""
    if licence is None:
        return {"license": "other", "license_name": "unknown"}
    fields = {"license": licence.identifier}
    if licence.name:
        fields["license_name"] = licence.name
    if licence.link:
        fields["license_link"] = licence.link
    return fields


def _licence_text(licence: Licence | None, base_model: str) -> str:
    if licence is None and not base_model:
        return (
            "None was chosen for this model, which was trained from scratch: look at "
            "those of the texts that it was trained on before you give it on."
        )
    if licence is None:
        return (
            f"The folder of the base model `{base_model}` says nothing of its licence, "
            "and this model stands under it: find it out before you give the model on."
        )
    of_base = ", that of the base model." if base_model else "."
    said = [f"`{licence.title}`{of_base}"]
    terms = TERMS.get(licence.title)
    if terms is not None:
        if terms.built_with:
            said.insert(0, f"**{terms.built_with}.**")
        said.append(terms.notice)
        said.append("The weights were changed by further training.")
        if terms.name_start:
            said.append(
                "The licence wants the name of every model made from it to begin with "
                f"“{terms.name_start}”."
            )
    return " ".join(said)
