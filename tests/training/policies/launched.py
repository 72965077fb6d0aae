"""Trainings that several processes share, and how some end: `python -m training.policies.launched FOLDER`.

Every process writes what its trainings said into FOLDER. Without a launcher it is one process.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from lmalgebra.cli import app
from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.prompt_sets import Item
from lmalgebra.training.policies import learning, state
from lmalgebra.training.policies.explore import explored_of, survey
from lmalgebra.training.policies.learning import Coefficients, GradientLearner, QuarkLearner, Updates, Work
from lmalgebra.training.policies.per_token import Loss
from lmalgebra.training.policies.pool import Pool
from lmalgebra.training.policies.rewards import reward_of
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.policies.trackers import open_accelerator
from lmalgebra.training.processes import Processes
from training.policies import runs
from training.policies.distillation import runs as distillations
from training.policies.learning import toy_policy

LAST = int(os.environ.get("WORLD_SIZE", "1")) - 1
IS_LAST = int(os.environ.get("RANK", "0")) == LAST > 0
"""Whether this is the last of several processes."""

TRAININGS: dict[str, dict[str, Any]] = {
    "quark": {"prompts_per_step": 3, "batch_size": 5, "steps": 3},
    "rloo": {"objective": "rloo", "beta_target": 0.2, "gamma": 0.01, "gamma_target": 1.0, "steps": 3},
    "model": {"objective": "grpo", "kind": "model", "epochs": 2, "learning_rate": 0.005, "steps": 2},
    "narrow": {"prompts_per_step": 1, "batch_size": 1, "steps": 2},
}
"""Of `narrow` there is nothing for a second process to do."""

DISTILLATIONS: dict[str, dict[str, Any]] = {
    "teacher": {"kind": "lora", "prompts_per_step": 3, "steps": 3},
    "given": {"kind": "model", "texts": "given", "samples": 1, "steps": 2},
}

TOYS = ("quark", "rloo")
PROMPTS = [Item("ab"), Item("ba"), Item("ab")]
"""One of them twice: its second samples are others."""


def toy(folder: Path, objective: str) -> None:
    """Steps on an exact toy in float64, whose logits go into the folder."""
    values = {"prompts": "p", "reward": "length(3)", "model": "toy", "output": "o", "trackers": ("none",)}
    values |= {"samples": 4, "steps": 4, "batch_size": 5, "max_new_tokens": 5, "controls": ("a", "b"), "epochs": 2.0}
    settings = AdapterSettings(**values, objective=objective, learning_rate=0.05, beta=0.1)
    policy, reward = toy_policy("base + tilt(adapter)"), reward_of("length(3)")
    processes = Processes.launched("cpu")
    accelerator = open_accelerator(("none",), folder, "cpu", {}, print)
    work = Work(settings, policy, accelerator, Updates(policy.parameters(), settings, 40), Coefficients.of(settings))
    learner = QuarkLearner(work, Pool(settings.controls)) if objective == "quark" else GradientLearner(work)
    rollouts, control = Rollouts(policy), settings.best_control
    prompts = [item.prompt for item in PROMPTS]
    for step in range(settings.steps):
        drawn = {"samples": settings.samples, "seed": 1000 * step, "control": control}

        def say(share: slice, drawn: dict[str, Any] = drawn) -> list[Any]:
            return rollouts.sample(prompts, share=share, **drawn)

        explored = explored_of(say, reward, PROMPTS, settings.samples, processes)
        learner.learn(explored, survey(policy, explored.rollouts, control, settings.batch_size, processes), step)
    if processes.is_first:
        save_file(state.copied(state.parameters_of(work)), folder / f"toy-{objective}.safetensors")


def letters(texts: list[str]) -> list[float]:
    """How many letters each text has."""
    return [len(set(text)) for text in texts]


def over(texts: list[str]) -> list[float]:
    """A reward that the last of several processes cannot give."""
    if IS_LAST:
        raise TrainingError("The scores are gone.", "Bring them back.")
    return letters(texts)


def settings(folder: Path, output: str, **changes: Any) -> AdapterSettings:
    """A training in `folder`, for texts of many letters."""
    reward = {"reward": "python('training.policies.launched:letters')"}
    return runs.settings(folder, output=str(folder / output), **reward | changes)


def failing(folder: Path) -> None:
    """A reward fails in one process."""
    runs.train(settings(folder, "failed", reward="python('training.policies.launched:over')"))


def full(folder: Path) -> None:
    """The disk is full, which one process alone meets."""

    def refuse(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    whole, state.write_lines = state.write_lines, refuse
    try:
        runs.train(settings(folder, "full"))
    finally:
        state.write_lines = whole


def diverging(folder: Path) -> str:
    """The loss is no number in one process."""
    whole, calls = learning.quark_loss, []

    def torn(judged: Any, beta: float, gamma: float) -> Loss:
        calls.append(1)
        return whole(judged, math.nan if IS_LAST and len(calls) > 6 else beta, gamma)

    learning.quark_loss = torn
    try:
        return runs.train(settings(folder, "diverged")).ended
    finally:
        learning.quark_loss = whole


def stopped(folder: Path) -> None:
    """One process alone is asked to stop, after the second step."""
    runs.train(settings(folder, "stopped"), until=2 if IS_LAST else -1)


def command(folder: Path) -> str:
    """The command line, of a training whose output is there."""
    try:
        app(["train", "adapter", str(folder / "settings.toml"), "--output", str(folder / "quark")])
    except SystemExit as exit:
        return f"exit code {exit.code}"
    return ""


def sentence_of(training: Callable[[], Any]) -> str:
    """What it ended by."""
    try:
        return str(training() or "")
    except LmalgebraError as error:
        return f"{type(error).__name__}: {error}"


def same_everywhere(folder: Path) -> None:
    """The trainings whose result does not depend on the number of processes."""
    for name, changes in TRAININGS.items():
        runs.train(settings(folder, name, **changes))
    for name, changes in DISTILLATIONS.items():
        chosen = distillations.settings(folder / "distillations", output=str(folder / name), **changes)
        distillations.distilled(chosen)
    for objective in TOYS:
        toy(folder, objective)


def main(folder: Path) -> None:
    """All of them."""
    same_everywhere(folder)
    ends = (failing, full, diverging, stopped, command)
    said = {each.__name__: sentence_of(lambda each=each: each(folder)) for each in ends}
    (folder / f"said-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
