"""Random little networks with a tokenizer of single characters, as `save_pretrained` leaves them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

LETTERS = ("<end>", "<start>", "<pad>", "<unk>", *"abcdefgh .")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
CONTEXT = 96


def letters(start: bool = False, end: bool = False) -> PreTrainedTokenizerFast:
    """A token for each character; puts <start> before a text, or <end> after it, where that is wanted."""
    inner = Tokenizer(models.WordLevel({letter: token for token, letter in enumerate(LETTERS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    if start or end:
        around = f"{'<start> ' * start}$A{' <end>' * end}"
        inner.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[("<start>", 1), ("<end>", 0)]
        )
    special = {"eos_token": "<end>", "bos_token": "<start>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=CONTEXT, **special)


def bert(**changes) -> PreTrainedConfig:
    config = {
        "vocab_size": len(LETTERS),
        "intermediate_size": 48,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 2,
    }
    return BertConfig(**SIZES | config | changes)


def llama(**changes) -> PreTrainedConfig:
    config = {"vocab_size": len(LETTERS), "intermediate_size": 48, "max_position_embeddings": CONTEXT}
    config |= {"num_key_value_heads": 2, "eos_token_id": 0, "bos_token_id": 1, "pad_token_id": 2}
    return LlamaConfig(**SIZES | config | changes)


def save_classifier(folder: Path, config: PreTrainedConfig, seed: int = 0, **around: bool) -> Path:
    """A random classifier in `folder`; its head is drawn large, so that texts differ."""
    return _save(AutoModelForSequenceClassification, folder, config, seed, **around)


def save_language_model(folder: Path, config: PreTrainedConfig, seed: int = 1, **around: bool) -> Path:
    return _save(AutoModelForCausalLM, folder, config, seed, **around)


def _save(kind: type, folder: Path, config: PreTrainedConfig, seed: int, **around: bool) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind.from_config(config).save_pretrained(folder)
    letters(**around).save_pretrained(folder)
    return folder
