"""The chat template: our prompt around a user's message, in Jinja.

A training example is encoded in parts, prompt and response apart; a rendered
conversation is encoded as one string. Where a tokenizer puts a space before a text, the
template spells it, so that both give the same tokens. What a template cannot mend: a
byte-level tokenizer may join the prompt's last colon with the first character of a
response, most likely with a line break.
"""

import dataclasses
import json

import tokenizers

_SPACE = "▁"
_TEXT = "a"


@dataclasses.dataclass(frozen=True)
class Joints:
    """What stands between the parts of a rendered conversation.

    Attributes:
      begin: whether the BOS token opens it.
      before_prompt: " " where the tokenizer puts a space before a text of its own, but
        not before one that follows a special token; else "".
      before_response: " " where the tokenizer puts a space before a text of its own,
        else "".
      doubles: whether it does so too where the text begins with a space.
    """

    begin: bool
    before_prompt: str = ""
    before_response: str = ""
    doubles: bool = True


def joints(tokenizer: tokenizers.Tokenizer, bos: str | None) -> Joints:
    """What a tokenizer needs between the parts.

    Args:
      tokenizer: of a `tokenizer.json`.
      bos: spelling of the token that is put before a text, or None.
    """

    def tokens(text: str) -> list[str]:
        return tokenizer.encode(text, add_special_tokens=False).tokens

    def joined(before: str, text: str) -> str:
        """The space that makes `before` and `text` one string of equal tokens."""
        apart = tokens(before) + tokens(text)
        spaced, direct = tokens(f"{before} {text}"), tokens(before + text)
        return " " if spaced == apart != direct else ""

    return Joints(
        begin=bos is not None,
        before_prompt=joined(bos, _TEXT) if bos else "",
        before_response=joined("Response:", _TEXT),
        doubles=tokens(f" {_TEXT}") != tokens(_TEXT),
    )


def chat_template(prompt: str, joints: Joints) -> str:
    """The Jinja chat template that renders a user's message as our prompt.

    The language is the template's variable `output_lang`; the sentence that asks for
    it (what follows the instruction on its line) is left out where it is not given.
    The response and its end token carry `{% generation %}` marks.

    >>> asked = "Do: {instruction} In {output_lang}.\\nResponse:"
    >>> text = chat_template(asked, Joints(begin=True, before_response=" "))
    >>> "output_lang" in text
    True

    With it, the messages user "Sing" and assistant "La", under output_lang="Thai",
    read `BOS Do: Sing In Thai.\\nResponse: La EOS`.

    Args:
      prompt: a prompt with the slots '{instruction}' and, later on the same line,
        '{output_lang}'.
      joints: what stands between the parts, so that a whole conversation has the
        tokens of its prompt and response, encoded apart.
    """
    head, _, rest = prompt.partition("{instruction}")
    request, newline, tail = rest.partition("\n")
    before, slot, after = request.partition("{output_lang}")
    if not slot:
        raise ValueError(f"no {{instruction}} ... {{output_lang}} in {prompt!r}")

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)

    begin = "{{- bos_token }}" if joints.begin else ""
    separator = ""
    if joints.before_response:
        wanted = "message['content']"
        if not joints.doubles:
            wanted += f" and message['content'][0] not in {text(' ' + _SPACE)}"
        space = f"{{{{- {text(joints.before_response)} }}}}"
        separator = f"{{%- if {wanted} %}}{space}{{%- endif %}}"
    return (
        f"{begin}"
        "{%- for message in messages %}"
        "{%- if message['role'] == 'user' %}"
        f"{{{{- {text(joints.before_prompt + head)} + message['content'] }}}}"
        "{%- if output_lang is defined and output_lang %}"
        f"{{{{- {text(before)} + output_lang + {text(after)} }}}}"
        "{%- endif %}"
        f"{{{{- {text(newline + tail)} }}}}"
        "{%- elif message['role'] == 'assistant' %}"
        "{%- generation %}"
        f"{separator}"
        "{{- message['content'] + eos_token }}"
        "{%- endgeneration %}"
        "{%- else %}"
        "{{- raise_exception('This model knows the roles user and assistant, not ' + "
        "message['role'] + '.') }}"
        "{%- endif %}"
        "{%- endfor %}"
    )
