"""A training's state between two steps, and how it is kept: safetensors and JSON, nothing that runs code.

trainee.safetensors     the parameters that learn
best.safetensors        the same of the best step so far
optimizer.safetensors   AdamW's averages
pool.jsonl              Quark's pool
steps.jsonl             what was measured at each step
trainer_state.json      the numbers; written last
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmalgebra.training.checkpoints import STATE
from lmalgebra.training.policies.pool import Pool

if TYPE_CHECKING:
    from lmalgebra.training.policies.learning import Learning, Work

TRAINEE, BEST, OPTIMIZER = "trainee.safetensors", "best.safetensors", "optimizer.safetensors"
POOL, STEPS = "pool.jsonl", "steps.jsonl"


@dataclass
class Progress:
    """The numbers of a training so far, `step` of whose steps are done.

    `deviation` is that of the first step's rewards; `best_step` is the step whose completions had the highest mean
    reward within the limits, and `best` the parameters that said them. `steps` holds what was measured at each, and
    `validation` what was on held-out prompts.
    """

    step: int = 0
    deviation: float = 0.0
    best_step: int = 0
    best_reward: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rewards(self) -> list[float]:
        """The mean reward of each step that had any."""
        return [each["reward"] for each in self.steps if each["reward"] is not None]


def parameters_of(work: Learning) -> dict[str, Tensor]:
    """The parameters that learn, by name."""
    return {name: each for name, each in work.policy.trainee.named_parameters() if each.requires_grad}


def copied(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """What they are now, in memory of its own on the CPU."""
    return {name: each.detach().to("cpu", copy=True).contiguous() for name, each in parameters.items()}


def put_back(work: Learning, kept: dict[str, Tensor]) -> None:
    """Let the parameters be what was copied."""
    with torch.no_grad():
        for name, each in parameters_of(work).items():
            each.copy_(kept[name])


def save(folder: Path, work: Work, pool: Pool | None, progress: Progress) -> None:
    """Write all of it into `folder`. Raises what the disk raises."""
    from safetensors.torch import save_file

    save_file(progress.best, folder / BEST)
    write_lines(folder / POOL, pool.lines() if pool else [])
    numbers = {name: value for name, value in vars(progress).items() if name not in ("best", "steps")}
    coefficients = {name: asdict(each)["value"] for name, each in vars(work.coefficients).items()}
    save_learned(folder, work, progress.steps, numbers | {"coefficients": coefficients})


def restore(folder: Path, work: Work, pool: Pool | None) -> Progress:
    """Let everything be as it was when `save` wrote `folder`."""
    from safetensors.torch import load_file

    steps, numbers = restore_learned(folder, work)
    if pool is not None:
        pool.restore(_read_lines(folder / POOL))
    for name, value in numbers.pop("coefficients").items():
        getattr(work.coefficients, name).value = value
    return Progress(best=load_file(folder / BEST), steps=steps, **numbers)


def save_learned(folder: Path, work: Learning, steps: list[dict[str, Any]], numbers: dict[str, Any]) -> None:
    """Write what every training has: parameters, optimizer, what was measured at each step, and other numbers."""
    from safetensors.torch import save_file

    save_file(copied(parameters_of(work)), folder / TRAINEE)
    save_file(_averages(work.updates.optimizer), folder / OPTIMIZER)
    write_lines(folder / STEPS, steps)
    text = json.dumps(numbers | {"updates": work.updates.done}, indent=2)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def restore_learned(folder: Path, work: Learning) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Let parameters and optimizer be as they were when `save_learned` wrote `folder`; the steps and the numbers."""
    from safetensors.torch import load_file

    put_back(work, load_file(folder / TRAINEE))
    _restore_averages(work.updates.optimizer, work.updates.parameters, load_file(folder / OPTIMIZER))
    numbers = json.loads((folder / STATE).read_text(encoding="utf-8"))
    work.updates.done = numbers.pop("updates")
    return _read_lines(folder / STEPS), numbers


def _averages(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors, named by what they are and the place of their parameter."""
    kept = optimizer.state_dict()["state"]
    return {f"{name}.{place}": each.cpu().contiguous() for place, of in kept.items() for name, each in of.items()}


def _restore_averages(optimizer: torch.optim.Optimizer, parameters: list[Tensor], kept: dict[str, Tensor]) -> None:
    for name, each in kept.items():
        kind, _, place = name.rpartition(".")
        parameter = parameters[int(place)]
        # Steps are counted on the CPU, as PyTorch begins to.
        optimizer.state[parameter][kind] = each if kind == "step" else each.to(parameter.device)


def write_lines(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write JSON Lines."""
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def _read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
