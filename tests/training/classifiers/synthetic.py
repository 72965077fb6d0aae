"""Texts whose label is plain to see, over a random network of seconds: what training is tested on."""

import json
import random
from pathlib import Path
from typing import Any

from lmalgebra.training.classifiers.settings import ClassifierSettings
from tiny_classifiers import bert, llama, save_language_model

SMALL = {
    "epochs": 2.0,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "held_out": 0.25,
    "device": "cpu",
    "checkpoint_steps": 4,
}


def write_examples(file: Path, count: int = 120, kind: str = "score", seed: int = 0) -> Path:
    """Words of letters; those with an `h` are bad, which is their score or label."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        text = "".join(draw.choice("abcdefg ") for _ in range(draw.randint(3, 12)))
        is_bad = draw.random() < 0.5
        if is_bad:
            place = draw.randint(0, len(text))
            text = text[:place] + "hh" + text[place:]
        target = {"score": 0.9 if is_bad else 0.1, "label": "bad" if is_bad else "good", "bool": is_bad}[kind]
        lines.append({"text": f"{text}.", "target": target})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def save_base(folder: Path, kind: str) -> Path:
    """An encoder with a masked-language head, or a causal model, to train from."""
    return save_language_model(folder, bert(is_decoder=False) if kind == "bert" else llama())


def settings(folder: Path, kind: str = "llama", target: str = "score", **changes: Any) -> ClassifierSettings:
    """A training in `folder`, which gets its data and its base."""
    data, base = folder / "data.jsonl", folder / kind
    if not data.exists():
        write_examples(data, kind="bool" if target == "label" else "score")
    if not base.exists():
        save_base(base, kind)
    values = {"data": str(data), "model": str(base), "output": str(folder / "out"), target: "target"}
    return ClassifierSettings(**SMALL | values | changes)
