"""Run by itself under transformers 4: what tokenizers in folders give for texts.

Its one argument is a JSON file {"texts": [...], "chats": [...], "folders": {NAME:
FOLDER}, "out": JSON}; OUT then holds the ids, plain and after BOS, the special ids and
the rendered conversations of each folder.
"""

import json
import pathlib
import sys

import transformers


def main(request: dict) -> None:
    assert transformers.__version__.startswith("4.57."), transformers.__version__
    found = {}
    for name, folder in request["folders"].items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        options = {"split_special_tokens": True}
        texts = request["texts"]
        found[name] = {
            "class": type(tokenizer).__name__,
            "ids": tokenizer(texts, add_special_tokens=False, **options)["input_ids"],
            "begun": tokenizer(texts, **options)["input_ids"],
            "special": [
                tokenizer.bos_token_id,
                tokenizer.eos_token_id,
                tokenizer.pad_token_id,
            ],
            "size": len(tokenizer),
            "inputs": sorted(tokenizer("a")),
            "chats": [
                tokenizer.apply_chat_template(
                    chat, output_lang="Finnish", tokenize=False
                )
                for chat in request["chats"]
                if tokenizer.chat_template
            ],
        }
    pathlib.Path(request["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()))
