"""The language model of a folder whose model also reads images: Gemma 3 from 4B on.

Such a folder's config.json has the language model's own as `text_config`, and a
tensor's name begins with the part that the tensor is of. The text half is read as the
text model that it is. The other parts are left out, by the beginnings declared here;
a tensor that is of neither is as unknown as in any folder.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from xinst_jax.errors import UserError
from xinst_jax.hf import keys

FAMILIES = {"gemma3": "gemma3_text"}
"""The family of the text half, by the `model_type` of the whole model."""

_TEXT = "text_config"
_TIED = "tie_word_embeddings"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the tensors of a model's parts are named.

    Attributes:
      text: the beginnings of the text half's names, by those in a text model's folder.
      left_out: the beginnings of the other parts' names.
    """

    text: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    def name(self, name: str) -> str:
        """What a tensor of a text model's folder is called here.

        >>> PUBLISHED.name("model.norm.weight")
        'language_model.model.norm.weight'
        """
        for theirs, here in self.text.items():
            if name.startswith(theirs):
                return here + name.removeprefix(theirs)
        return name

    def leaves_out(self, name: str) -> bool:
        """Whether a tensor of this layout is of a part that is left out."""
        return name.startswith(self.left_out) if self.left_out else False


PLAIN = Layout({})
"""A text model's folder."""

PUBLISHED = Layout(
    {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
    ("vision_tower.", "multi_modal_projector."),
)
"""Gemma 3 as it is published, and as transformers 5 writes it if not told otherwise."""

MODULES = Layout(
    {"model.": "model.language_model."},
    ("model.vision_tower.", "model.multi_modal_projector."),
)
"""By the modules of transformers from 4.52 on, as 4 and adapters' folders have it."""


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a model of which only a half is computed here."""
    return record.get("model_type") in FAMILIES


def of_config(
    record: dict[str, Any], path: pathlib.Path
) -> tuple[dict[str, Any], pathlib.Path]:
    """The text half's config, as its own config.json would be, and what errors call it.

    A text model's is given back as it is.

    Args:
      record: a config.json.
      path: what errors call it.

    Raises:
      UserError: a whole model without a text half, or with one of another family; or
        the two disagree on whether the head is tied.
    """
    if not is_whole(record):
        return record, path
    family = FAMILIES[record["model_type"]]
    text = keys.value(record, _TEXT, dict, path)
    if text is None:
        raise UserError(
            f"{path}: model_type = {record['model_type']!r} without {_TEXT}, which "
            "says what its language model is."
        )
    if text.get("model_type", family) != family:
        raise UserError(
            f"{path}: {_TEXT}.model_type = {text['model_type']!r}; expected {family!r}."
        )
    tied = keys.value(record, _TIED, bool, path)
    if tied is not None and text.get(_TIED, tied) != tied:
        raise UserError(
            f"{path}: {_TIED} = {tied!r}, but {text[_TIED]!r} in {_TEXT}. Keep what "
            "the model was trained with."
        )
    said = {} if tied is None else {_TIED: tied}
    return {**said, **text, "model_type": family}, pathlib.Path(f"{path}, {_TEXT}")


def value(record: Mapping[str, Any], key: str) -> Any:
    """What a config.json says under a key, and where it says nothing, its text half's.

    Args:
      record: a config.json.
      key: of the record, or of its `text_config`.
    """
    text = record.get(_TEXT)
    found = record.get(key)
    return text.get(key) if found is None and isinstance(text, dict) else found


def layout(record: Mapping[str, Any], names: Collection[str]) -> Layout:
    """How the tensors of a folder are named.

    Args:
      record: its config.json.
      names: its tensors.
    """
    if not is_whole(record):
        return PLAIN
    begun = MODULES.text["model."]
    return MODULES if any(name.startswith(begun) for name in names) else PUBLISHED


def modules(record: Mapping[str, Any]) -> Layout:
    """How transformers names the modules of a folder's model.

    Args:
      record: its config.json.
    """
    return MODULES if is_whole(record) else PLAIN
