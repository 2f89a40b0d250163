"""Run by itself under transformers 4: the logits of folders, for the same tokens.

Its one argument is a JSON file {"tokens": NPY, "folders": {NAME: FOLDER}, "out": NPZ}.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers


def main(request: dict) -> None:
    assert transformers.__version__.startswith("4.57."), transformers.__version__
    tokens_bt = torch.tensor(np.load(request["tokens"]))
    found = {}
    for name, folder in request["folders"].items():
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", output_loading_info=True
        )
        assert not any(report.values()), (name, report)
        with torch.no_grad():
            found[name] = model.eval()(tokens_bt).logits.numpy()
    np.savez(request["out"], **found)


if __name__ == "__main__":
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()))
