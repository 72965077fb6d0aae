"""Trainings of seconds: a random network of letters learns to say more a's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmalgebra as la
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.policies.train import Trained, train_adapter
from tiny_classifiers import llama, save_language_model

REWARD = "training.policies.runs:share_of_a"
PROMPTS = ["abc", "bed", "hag", "a cab", "fed", "dab", "had", "gab", "face", "bead", "cage", "hedge"]
SMALL: dict[str, Any] = {
    "reward": f"python('{REWARD}')",
    "kind": "lora",
    "steps": 4,
    "prompts_per_step": 4,
    "samples": 4,
    "batch_size": 8,
    "max_new_tokens": 4,
    "controls": ("bad ", "good "),
    "learning_rate": 0.02,
    "held_out": 0.25,
    "checkpoint_steps": 2,
    "max_kl": 0.0,
    "device": "cpu",
    "precision": "float32",
    "trackers": ("none",),
}


def share_of_a(texts: list[str]) -> list[float]:
    """How much of each text is the letter a."""
    return [text.count("a") / max(1, len(text)) for text in texts]


def settings(folder: Path, **changes: Any) -> AdapterSettings:
    """A training in `folder`, which gets its prompts and its network."""
    prompts, base = folder / "prompts.jsonl", folder / "letters"
    if not prompts.exists():
        prompts.write_text("".join(json.dumps({"prompt": each}) + "\n" for each in PROMPTS))
        save_language_model(base, llama())
    values = {"prompts": str(prompts), "output": str(folder / "out")}
    values |= {} if "voice" in changes else {"model": str(base)}
    return AdapterSettings(**SMALL | values | changes)


@dataclass
class Watched:
    """What a training told; it stops after the step `until`."""

    until: int = -1
    told: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [each["step"] for each in self.told]


def save_other_vocabulary(folder: Path) -> None:
    """A model to `folder` whose letters a and b have each other's token."""
    save_language_model(folder, llama())
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(tokenizer))


def train(chosen: AdapterSettings, *, until: int = -1, watched: Watched | None = None, **options: Any) -> Trained:
    """Train, with models of its own."""
    models, seen = la.Models(), watched or Watched()
    return train_adapter(
        chosen,
        models,
        models.scorer,
        report=seen.said.append,
        advance=lambda measured, steps: seen.told.append(measured),
        stop=lambda: bool(seen.told) and seen.told[-1]["step"] == until,
        **options,
    )
