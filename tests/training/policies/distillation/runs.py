"""Distillations of seconds: a random network of letters, and formulas over it, as teachers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lmalgebra as la
from lmalgebra.training.policies.distillation.settings import DistillSettings
from lmalgebra.training.policies.distillation.train import Distilled, train_student
from tiny_classifiers import llama, save_language_model
from training.policies.runs import PROMPTS, Watched

SMALL: dict[str, Any] = {
    "steps": 4,
    "prompts_per_step": 4,
    "samples": 2,
    "batch_size": 4,
    "max_new_tokens": 4,
    "learning_rate": 0.01,
    "held_out": 0.25,
    "checkpoint_steps": 2,
    "device": "cpu",
    "precision": "float32",
    "trackers": ("none",),
}
VOICE = """\
formula = "base + 1.5 * (good - base)"
[models.small]
source = "./letters"
[terms.base]
model = "small"
prefix = ""
[terms.good]
model = "small"
prefix = "good "
[terms.student]
model = "small"
prefix = ""
"""


def settings(folder: Path, **changes: Any) -> DistillSettings:
    """A distillation in `folder`, which gets its prompts, its network and a voice."""
    prompts, base, voice = folder / "prompts.jsonl", folder / "letters", folder / "teacher.toml"
    if not prompts.exists():
        lines = [{"prompt": each, "continuation": "cabbage"} for each in PROMPTS]
        prompts.write_text("".join(json.dumps(each) + "\n" for each in lines))
        save_language_model(base, llama())
        voice.write_text(VOICE)
    values = {"prompts": str(prompts), "output": str(folder / "out")}
    values |= {} if "model" in changes else {"voice": str(voice)}
    return DistillSettings(**SMALL | values | changes)


def distilled(chosen: DistillSettings, *, until: int = -1, watched: Watched | None = None, **options: Any) -> Distilled:
    """Distil, with models of its own."""
    models, seen = la.Models(), watched or Watched()
    return train_student(
        chosen,
        models,
        models.scorer,
        report=seen.said.append,
        advance=lambda measured, steps: seen.told.append(measured),
        stop=lambda: bool(seen.told) and seen.told[-1]["step"] == until,
        **options,
    )
