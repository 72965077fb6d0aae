"""Groups that are plain to tell apart, over a random network of seconds: what training by contrast is tested on."""

import json
import random
from pathlib import Path
from typing import Any

from lmalgebra.training.contrast.settings import ContrastSettings
from tiny_classifiers import llama, save_language_model

SMALL = {
    "steps": 8,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "held_out": 0.25,
    "device": "cpu",
    "dtype": "float32",
    "rank": 4,
    "checkpoint_steps": 3,
    "evaluate_steps": 4,
}


def write_groups(file: Path, count: int = 24, seed: int = 0) -> Path:
    """Words of letters, and the same with an `h` in front of each word, which is not wanted."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        words = ["".join(draw.choice("abcdefg") for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(1, 3))]
        positives = [" ".join(words) + ".", " ".join(reversed(words)) + " ."][: 1 + number % 2]
        negatives = [" ".join(f"h{word}" for word in words), " ".join(f"hh{word}" for word in words) + "."]
        lines.append({"anchor": f"a{number}", "positives": positives, "negatives": negatives[: 1 + number % 2]})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def settings(folder: Path, **changes: Any) -> ContrastSettings:
    """A training in `folder`, which gets its data and its base."""
    if not (folder / "groups.jsonl").exists():
        write_groups(folder / "groups.jsonl")
    if not (folder / "base").exists():
        save_language_model(folder / "base", llama())
    values = {"data": str(folder / "groups.jsonl"), "model": str(folder / "base"), "output": str(folder / "out")}
    return ContrastSettings(**values | SMALL | changes)
