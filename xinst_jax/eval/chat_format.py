"""How a model is spoken to in a conversation: its chat template and its tokenizer.

Rendered and encoded as transformers does (`apply_chat_template`, then the tokenizer),
with two differences: a template is given no clock, so that figures repeat, and what it
refuses is an error.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import tokenizers

from xinst_jax.config import PromptConfig
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.hf import special_tokens
from xinst_jax.hf import tokenizer as hf_tokenizer

_TEMPLATE = "chat_template"
_CUT = "\N{INVISIBLE SEPARATOR}cut here\N{INVISIBLE SEPARATOR}"

Message = Mapping[str, str]
"""Its 'role' and its 'content'."""


@dataclasses.dataclass(frozen=True)
class ChatFormat:
    """A chat template with the tokenizer that reads what it renders.

    Attributes:
      source: what errors call it.
      template: the Jinja template.
      tokenizer: reads special tokens in a text as tokens.
      named: spellings of the special tokens that the template may name: 'bos_token'.
    """

    source: str
    template: str
    tokenizer: tokenizers.Tokenizer
    named: Mapping[str, str]

    def render(
        self, messages: Sequence[Message], *, prompt: bool, output_lang: str
    ) -> str:
        """A conversation as the text that the model reads.

        Args:
          messages: in order.
          prompt: whether the model speaks next; else it goes on with the last message.
          output_lang: English name of the language to answer in, for templates that
            ask for it; empty for none.

        Raises:
          UserError: the template does not take the conversation.
        """
        said = [dict(message) for message in messages]
        if not prompt:
            said[-1]["content"] += _CUT
        try:
            text = _compiled(self.template).render(
                messages=said,
                add_generation_prompt=prompt,
                **{"output_lang": output_lang} if output_lang else {},
                **self.named,
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"{self.source} does not take a conversation of {roles}: {error}. "
                "Leave the task out, or set BenchmarkConfig.chat_template = False."
            ) from error
        return text if prompt else text[: text.rindex(_CUT)]

    def encode(self, text: str, begin: bool | None, begin_id: int) -> list[int]:
        """Ids of a text, special tokens that it spells among them.

        Args:
          text: as rendered, perhaps with more behind it.
          begin: whether the tokenizer puts its begin token before it; None: where the
            text does not begin with it.
          begin_id: id of that token.
        """
        if begin is None:
            first = self.tokenizer.id_to_token(begin_id)
            begin = not (first and text.startswith(first))
        return self.tokenizer.encode(text, add_special_tokens=begin).ids


def of_answers(
    folder: pathlib.Path, max_length: int, wording: PromptConfig = prompts.PAPER
) -> ChatFormat:
    """The answer prompt as a chat template, as an exported model has it.

    Args:
      folder: the tokenizer's.
      max_length: longest sequence, in tokens.
      wording: the prompts.

    Raises:
      UserError: no chat template can be made for the tokenizer.
    """
    files = hf_tokenizer.from_folder(folder, prompts.chat(wording), max_length)
    return _format(
        "The answer prompt's chat template",
        folder,
        files[hf_tokenizer.CHAT_TEMPLATE].decode(),
        tokenizers.Tokenizer.from_str(files[hf_tokenizer.TOKENIZER].decode()),
        json.loads(files[hf_tokenizer.TOKENIZER_CONFIG]),
    )


def of_folder(folder: pathlib.Path) -> ChatFormat:
    """The chat template that a tokenizer's folder brings.

    Raises:
      UserError: it brings none.
    """
    path = folder / special_tokens.CONFIG
    config = special_tokens.read_json(path) if path.is_file() else {}
    file = folder / hf_tokenizer.CHAT_TEMPLATE
    template = file.read_text("utf-8") if file.is_file() else config.get(_TEMPLATE)
    if isinstance(template, list):
        # Several by name, as older folders have them.
        template = {one["name"]: one["template"] for one in template}.get("default")
    if not template or not (folder / hf_tokenizer.TOKENIZER).is_file():
        raise UserError(
            f"The base model's tokenizer in {folder} brings no chat template; "
            f"expected {hf_tokenizer.CHAT_TEMPLATE} beside a {hf_tokenizer.TOKENIZER}, "
            f"or one in {special_tokens.CONFIG}. Set BenchmarkConfig.chat_template = "
            "False, or BenchmarkConfig.models = ('tuned',)."
        )
    tokenizer = hf_tokenizer.read(folder / hf_tokenizer.TOKENIZER)
    return _format(f"{folder}'s chat template", folder, template, tokenizer, config)


def _format(
    source: str,
    folder: pathlib.Path,
    template: str,
    tokenizer: tokenizers.Tokenizer,
    config: Mapping[str, Any],
) -> ChatFormat:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    file = hf_tokenizer.find(folder)
    if file.name == hf_tokenizer.TOKENIZER:
        # As transformers does with tokens that are special by another file.
        said = special_tokens.read(file, tokenizer.token_to_id).special
        added = tokenizer.get_added_tokens_decoder().values()
        marked = {token.content for token in added if token.special}
        tokenizer.add_special_tokens(
            [
                tokenizers.AddedToken(token, normalized=False, special=True)
                for token in sorted(said - marked)
                if tokenizer.token_to_id(token) is not None
            ]
        )
    spelled = {
        name: special_tokens.spelling(config.get(name)) for name in special_tokens.NAMES
    }
    named = {name: token for name, token in spelled.items() if token}
    return ChatFormat(source, template, tokenizer, named)


class _Generation(jinja2.ext.Extension):
    """Takes `{% generation %}` blocks for what stands in them."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.cache
def _compiled(template: str) -> jinja2.Template:
    # A folder's template is somebody else's program.
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(template)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
