"""What the licence of a base model asks of a model that was tuned from it.

Llama, Gemma and Qwen licences go with every model made from theirs, under the same
terms; a derived card that names another licence is wrong.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable

import yaml
from huggingface_hub import ModelCard

OTHER = "other"
"""The hub's identifier of a licence that it has no identifier for."""

LEGAL = ("LICENSE*", "LICENCE*", "USE_POLICY.md", "NOTICE*")
"""Patterns of the files that go with every copy of a model."""

_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
_CARD = "README.md"
_READ_CHARS = 4_000
_TEXTS = (
    (r"llama (2|3|3\.\d) community license", r"llama\1"),
    (r"gemma terms of use", "gemma"),
    (r"qwen research license", "qwen-research"),
    (r"qwen license", "qwen"),
    (r"tongyi qianwen research license", "tongyi-qianwen-research"),
    (r"tongyi qianwen license", "tongyi-qianwen"),
    (r"apache license,? version 2\.0", "apache-2.0"),
    (r"^mit license|permission is hereby granted, free of charge", "mit"),
)
"""How the text of a licence is known, and the licence."""

_NAMED = {"qwen", "qwen-research", "tongyi-qianwen", "tongyi-qianwen-research"}
"""Licences without an identifier of the hub, which a card names beside 'other'; by the
names on Qwen's own cards."""

_OF_ROWS = {
    *("apache-2.0", "mit", "cc0-1.0", "odc-by", "odbl", "pddl", "unlicense"),
    *("gfdl", "gpl-3.0", "wtfpl", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
    *("cc-by-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
}
"""The hub's identifiers of licences that texts come under."""


@dataclasses.dataclass(frozen=True)
class Licence:
    """A model's licence as a card of the hub names it.

    Attributes:
      identifier: the hub's identifier: 'llama3', 'gemma', 'apache-2.0', 'other'.
      name: the licence's name where the identifier is 'other'.
      link: where its text is, likewise.
    """

    identifier: str
    name: str = ""
    link: str = ""

    @property
    def title(self) -> str:
        """The licence's name, or the identifier of one that has it."""
        return self.name or self.identifier


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a licence wants said of a model made from another.

    Attributes:
      notice: the sentence that goes with every copy.
      built_with: what is to be displayed, or empty.
      name_start: how the model's name has to begin, or empty.
    """

    notice: str
    built_with: str = ""
    name_start: str = ""


_LATER_LLAMA = ("3.1", "3.2", "3.3")
_COPYRIGHT = "Copyright © Meta Platforms, Inc. All Rights Reserved."
_QWEN_COPYRIGHT = "Copyright (c) Alibaba Cloud. All Rights Reserved."
_QWEN_KINDS = {"": "LICENSE", "-research": "RESEARCH LICENSE"}

TERMS = {
    "llama2": Terms(
        f"Llama 2 is licensed under the LLAMA 2 Community License, {_COPYRIGHT}"
    ),
    "llama3": Terms(
        "Meta Llama 3 is licensed under the Meta Llama 3 Community License, "
        f"{_COPYRIGHT}",
        "Built with Meta Llama 3",
        "Llama 3",
    ),
    **{
        f"llama{version}": Terms(
            f"Llama {version} is licensed under the Llama {version} Community "
            f"License, {_COPYRIGHT}",
            "Built with Llama",
            "Llama",
        )
        for version in _LATER_LLAMA
    },
    "gemma": Terms(
        "Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms."
    ),
    **{
        f"qwen{kind}": Terms(
            f"Qwen is licensed under the Qwen {text} AGREEMENT, {_QWEN_COPYRIGHT}",
            "Built with Qwen",
        )
        for kind, text in _QWEN_KINDS.items()
    },
    **{
        f"tongyi-qianwen{kind}": Terms(
            f"Tongyi Qianwen is licensed under the Tongyi Qianwen {text} AGREEMENT, "
            f"{_QWEN_COPYRIGHT}"
        )
        for kind, text in _QWEN_KINDS.items()
    },
}
"""Terms by the licence's title. Sources: the licences' sections on redistribution
(Llama 2: 1.b.iii; Llama 3 and later: 1.b.i and iii; Gemma: 3.1; Qwen and Tongyi
Qianwen: 3.c) and, for what is displayed of Qwen, on its use."""


def of_base(folder: pathlib.Path) -> Licence | None:
    """The licence of a base model: as its card says, its LICENSE, or its family.

    None where none of them says it.
    """
    return _of_card(folder) or _of_text(folder) or _of_family(folder)


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a base model's folder says of its licence: texts, notices and its card."""
    patterns = (*LEGAL, _CARD)
    return sorted(
        path
        for path in {path for pattern in patterns for path in folder.glob(pattern)}
        if path.is_file()
    )


def name_warning(licence: str, name: str) -> str | None:
    """A sentence for a model whose name is not as its licence wants it, or None.

    >>> name_warning("llama3", "finnish-8b")[:60]
    "The licence llama3 wants the model's name to begin with 'Lla"
    >>> name_warning("llama3", "Llama-3-finnish-8b") is None
    True
    """
    terms = TERMS.get(licence)
    if terms is None or _letters(name).startswith(_letters(terms.name_start)):
        return None
    return (
        f"The licence {licence} wants the model's name to begin with "
        f"{terms.name_start!r}, and {name!r} does not: rename it before anybody else "
        "gets it."
    )


def of_rows(licences: Iterable[str]) -> list[str]:
    """The hub's identifiers of the licences of a dataset's rows, sorted.

    One without an identifier makes it 'other' alone.

    >>> of_rows(["CC BY-SA 4.0", "CC0-1.0", "CC0-1.0"])
    ['cc-by-sa-4.0', 'cc0-1.0']
    >>> of_rows(["CC0-1.0", ""])
    ['other']
    """
    found = {re.sub(r"[\s_]+", "-", text.strip().lower()) for text in licences}
    return sorted(found) if found and found <= _OF_ROWS else [OTHER]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _of_card(folder: pathlib.Path) -> Licence | None:
    card = folder / _CARD
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    try:
        data = ModelCard(text, ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError):
        return None
    found = data.get("license")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str) or not found:
        return None
    if found != OTHER:
        return Licence(found)
    name = str(data.get("license_name") or "")
    return Licence(OTHER, name, str(data.get("license_link") or "")) if name else None


def _of_text(folder: pathlib.Path) -> Licence | None:
    for file in _FILES:
        path = folder / file
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", errors="replace") as opened:
            text = " ".join(opened.read(_READ_CHARS).lower().split())
        for pattern, name in _TEXTS:
            match = re.search(pattern, text)
            if match and name in _NAMED:
                return Licence(OTHER, name, file)
            if match:
                return Licence(match.expand(name))
    return None


def _of_family(folder: pathlib.Path) -> Licence | None:
    """The licence where a family has only one: Gemma, and Llama 3 by its vocabulary.

    Llama 2's shape is also that of models that owe it nothing.
    """
    try:
        record = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    family = str(record.get("model_type", ""))
    if family.startswith("gemma"):
        return Licence("gemma")
    if family != "llama" or record.get("vocab_size") != 128_256:
        return None
    scaling = record.get("rope_scaling") or record.get("rope_parameters") or {}
    if "llama3" not in (scaling.get("rope_type"), scaling.get("type")):
        return Licence("llama3")
    tied = record.get("tie_word_embeddings", False)
    return Licence("llama3.2" if tied else "llama3.1")
