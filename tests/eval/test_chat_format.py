"""Conversations have the text and the tokens that transformers gives them."""

import json

import pytest
import transformers

from tests.hf import tokenizer_kinds as kinds
from xinst_jax.data import prompts, vocab
from xinst_jax.errors import UserError
from xinst_jax.eval import chat_format
from xinst_jax.eval.prefix import prefix_id
from xinst_jax.hf import tokenizer as hf_tokenizer

TURNS = [
    {"role": "user", "content": "Laula laulu. <|eot_id|>"},
    {"role": "assistant", "content": "La la."},
    {"role": "user", "content": "Toinen!"},
]
PREFILLED = [*TURNS, {"role": "assistant", "content": "Tässä on"}]
PUBLISHED = (
    "{{- bos_token }}\n{% for message in messages %}\n"
    "    {%- if loop.first and message.role == 'none' %}{% continue %}{% endif %}\n"
    "{{- '<|start|>' + message['role'] + '\\n' + message['content'] | trim }}"
    "{{- '<|eot_id|>' }}\n{% endfor %}\n"
    "{%- if date is not defined %}{{- {'a': 'ä'} | tojson }}{% endif %}"
    "{%- if add_generation_prompt %}{{- '<|start|>assistant\\n' }}{% endif %}"
)


def _held(ours, theirs, begin_id, **extra):
    """Holds texts and ids of both kinds of conversation against transformers'."""
    lang = extra.get("output_lang", "")
    for turns, prompt in ((TURNS, True), (PREFILLED, False)):
        text = ours.render(turns, prompt=prompt, output_lang=lang)
        options = {
            "add_generation_prompt": prompt,
            "continue_final_message": not prompt,
            **extra,
        }
        assert text == theirs.apply_chat_template(turns, tokenize=False, **options)
        ids = theirs.apply_chat_template(turns, return_dict=True, **options)
        assert ours.encode(text, None, begin_id) == ids["input_ids"]


@pytest.mark.parametrize("kind", ["llama2-model", "llama3", "qwen"])
def test_the_tuned_models_conversation_is_the_exported_folders(kind, tmp_path):
    base = kinds.make(kind, tmp_path / "base")
    exported = tmp_path / "exported"
    exported.mkdir()
    files = hf_tokenizer.from_folder(base, prompts.chat(), 2048)
    for name, content in files.items():
        (exported / name).write_bytes(content)
    theirs = transformers.AutoTokenizer.from_pretrained(exported)
    ours = chat_format.of_answers(base, 2048)
    begin_id = prefix_id(vocab.load_vocabulary(base))
    _held(ours, theirs, begin_id, output_lang="Finnish")
    _held(ours, theirs, begin_id)
    with pytest.raises(UserError, match="roles user and assistant, not system"):
        ours.render([{"role": "system", "content": "!"}], prompt=True, output_lang="")


@pytest.mark.parametrize("where", ["file", "config", "named"])
def test_a_base_models_conversation_is_its_publishers(where, tmp_path):
    folder = kinds.make("llama3", tmp_path / "base")
    with pytest.raises(UserError, match="brings no chat template"):
        chat_format.of_folder(folder)
    if where == "file":
        (folder / "chat_template.jinja").write_text(PUBLISHED)
    else:
        path = folder / "tokenizer_config.json"
        template = PUBLISHED
        if where == "named":
            template = [
                {"name": "tool_use", "template": "no"},
                {"name": "default", "template": PUBLISHED},
            ]
        config = json.loads(path.read_bytes()) | {"chat_template": template}
        path.write_text(json.dumps(config))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = chat_format.of_folder(folder)
    begin_id = prefix_id(vocab.load_vocabulary(folder))
    _held(ours, theirs, begin_id)
    text = ours.render(TURNS, prompt=True, output_lang="")
    end = theirs.convert_tokens_to_ids("<|eot_id|>")
    assert ours.encode(text, None, begin_id).count(end) == 1 + len(TURNS)
