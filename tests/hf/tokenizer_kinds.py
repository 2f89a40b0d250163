"""Small tokenizers of the kinds that models on the hub have.

Each function writes the tokenizer files of one kind of model into a folder, under the
hub's names and with its switches, trained on the embedded sample.
"""

import functools
import io
import json
import pathlib
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from tests.hf.tokenizer_texts import LANGUAGES, of_language

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")

KINDS = ("llama2", "llama2-model", "gemma", "gemma-model", "llama3", "qwen")


def make(kind: str, folder: pathlib.Path) -> pathlib.Path:
    """Writes the tokenizer files of a kind; '-model' is without tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    name, _, only_model = kind.partition("-")
    if name in ("llama3", "qwen"):
        return llama3(folder) if name == "llama3" else qwen(folder)
    write = llama2 if name == "llama2" else gemma
    return write(folder, with_json=not only_model)


def train_sentencepiece(**settings: Any) -> bytes:
    """A SentencePiece BPE model with byte fallback and no normalisation."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for lang in LANGUAGES for text in of_language(lang)),
        model_writer=model,
        **{
            "model_type": "bpe",
            "vocab_size": 2500,
            "character_coverage": 0.9995,
            "byte_fallback": True,
            "split_digits": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
            "max_sentence_length": 1 << 20,
            "minloglevel": 2,
            "num_threads": 1,
        }
        | settings,
    )
    return model.getvalue()


@functools.cache
def llama2_model() -> bytes:
    """Llama 2's switches: <unk> 0, <s> 1, </s> 2, a space before every text."""
    return train_sentencepiece(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)


GEMMA_WHITESPACE = (
    *("\n" * count for count in range(1, 32)),
    *("▁" * count for count in range(2, 32)),
    *("\t" * count for count in range(1, 4)),
)
GEMMA_MARKUP = ("<table>", "<h1>", "</h1>")
GEMMA_TURNS = ("<start_of_turn>", "<end_of_turn>")


@functools.cache
def gemma_model() -> bytes:
    """Gemma's switches: pad, eos, bos, unk 0 to 3; runs of blanks are pieces."""
    unused = [f"<unused{index}>" for index in range(5)]
    return train_sentencepiece(
        add_dummy_prefix=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=[
            "<mask>",
            *unused,
            *GEMMA_TURNS,
            *GEMMA_WHITESPACE,
            *GEMMA_MARKUP,
        ],
    )


def llama2(folder: pathlib.Path, *, with_json: bool = True) -> pathlib.Path:
    """Llama 2: tokenizer.model and, as transformers 4 converts it, tokenizer.json."""
    (folder / "tokenizer.model").write_bytes(llama2_model())
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": None,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
    }
    entries = {
        name: {"__type": "AddedToken", "content": token, "lstrip": False}
        | {"normalized": False, "rstrip": False, "single_word": False}
        for name, token in special.items()
    }
    _write(folder, "llama", config | entries, special, eos=2, bos=1)
    if with_json:
        tokenizer = _converted(folder, unk="<unk>")
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        _save(folder, tokenizer, ["<unk>", "<s>", "</s>"], "<s>")
    return folder


def gemma(folder: pathlib.Path, *, with_json: bool = True) -> pathlib.Path:
    """Gemma: tokenizer.model and, as transformers 4 converts it, tokenizer.json."""
    (folder / "tokenizer.model").write_bytes(gemma_model())
    special = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "additional_special_tokens": list(GEMMA_TURNS),
    }
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "sp_model_kwargs": {},
        "tokenizer_class": "GemmaTokenizer",
    }
    _write(folder, "gemma", config | special, special, eos=1, bos=2, pad=0)
    if with_json:
        tokenizer = _converted(folder, unk="<unk>")
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        names = ["<pad>", "<eos>", "<bos>", "<unk>", *GEMMA_TURNS]
        plain = ["<mask>", *(f"<unused{index}>" for index in range(5))]
        plain += [*GEMMA_WHITESPACE, *GEMMA_MARKUP]
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])
        _save(folder, tokenizer, names, "<bos>")
    return folder


def llama3(folder: pathlib.Path) -> pathlib.Path:
    """Llama 3 Instruct: byte-level BPE, ignore_merges, BOS by its post-processor."""
    tokenizer = _byte_level(LLAMA3_SPLIT)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"]
    names += ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([AddedToken(n, normalized=False) for n in names])
    bos = tokenizer.token_to_id(names[0])
    template = processors.TemplateProcessing(
        single=f"{names[0]} $A",
        pair=f"{names[0]} $A {names[0]}:1 $B:1",
        special_tokens=[(names[0], bos)],
    )
    level = processors.ByteLevel(trim_offsets=False)
    tokenizer.post_processor = processors.Sequence([level, template])
    record = json.loads(tokenizer.to_str())
    record["model"]["ignore_merges"] = True
    (folder / "tokenizer.json").write_text(json.dumps(record, ensure_ascii=False))
    special = {"bos_token": names[0], "eos_token": "<|eot_id|>"}
    config = {
        "added_tokens_decoder": _decoder(tokenizer),
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    stops = [tokenizer.token_to_id(name) for name in ("<|end_of_text|>", "<|eot_id|>")]
    _write(folder, "llama", config | special, special, eos=stops, bos=bos)
    return folder


def qwen(folder: pathlib.Path) -> pathlib.Path:
    """Qwen: NFC, byte-level BPE, one digit a token, no BOS, vocab.json and merges."""
    tokenizer = _byte_level(QWEN_SPLIT)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    record = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(record["vocab"], ensure_ascii=False))
    merges = "\n".join(" ".join(merge) for merge in record["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]
    tokenizer.add_special_tokens([AddedToken(n, normalized=False) for n in names])
    plain = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": _decoder(tokenizer),
        "additional_special_tokens": names[1:],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 131072,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    stops = [tokenizer.token_to_id(name) for name in ("<|im_end|>", "<|endoftext|>")]
    _write(folder, "qwen2", config | special, special, eos=stops, pad=stops[1])
    return folder


@functools.cache
def _byte_level_model(split: str) -> str:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = [text for language in LANGUAGES for text in of_language(language)]
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.to_str()


def _byte_level(split: str) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(_byte_level_model(split))


def _converted(folder: pathlib.Path, unk: str) -> tokenizers.Tokenizer:
    """A BPE of transformers' own reading of the .model: its ranks of merges."""
    extractor = SentencePieceExtractor(str(folder / "tokenizer.model"))
    read = extractor.extract(models.BPE)
    return tokenizers.Tokenizer(
        models.BPE(
            read["vocab"],
            read["merges"],
            unk_token=unk,
            fuse_unk=True,
            byte_fallback=True,
        )
    )


def _save(
    folder: pathlib.Path, tokenizer: tokenizers.Tokenizer, names: list[str], bos: str
) -> None:
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A",
        pair=f"{bos} $A {bos}:1 $B:1",
        special_tokens=[(bos, tokenizer.token_to_id(bos))],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _decoder(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    fields = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {
        str(index): {field: getattr(token, field) for field in fields}
        for index, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }


def _write(
    folder: pathlib.Path,
    model_type: str,
    config: dict[str, Any],
    special: dict[str, Any],
    *,
    eos: int | list[int],
    bos: int | None = None,
    pad: int | None = None,
) -> None:
    ids = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    record = {"model_type": model_type} | ids
    files = {
        "tokenizer_config.json": config,
        "special_tokens_map.json": special,
        "config.json": record,
        "generation_config.json": ids,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False))
