"""Training a policy adapter: from settings to a folder that a term of a formula can name.

In this order: 1. the reward and the prompts are read; 2. models are loaded and what learns is laid over one; 3. the
steps, with checkpoints (see `loop`); 4. the folder appears, whole, with a card and a voice that speaks by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.algebra import Formula
from lmalgebra.decoding.loaded import OpenScorer
from lmalgebra.models.store import Report, silent
from lmalgebra.training.checkpoints import Stop, Workplace
from lmalgebra.training.policies.learning import Coefficients, Updates, Work, planned_updates
from lmalgebra.training.policies.loop import Training
from lmalgebra.training.policies.opening import digest_of, open_policy
from lmalgebra.training.policies.policy import FormulaPolicy, OpenModel
from lmalgebra.training.policies.pool import Pool
from lmalgebra.training.policies.prompts import Prompts, read_prompts
from lmalgebra.training.policies.result import build
from lmalgebra.training.policies.rewards import Combined, Reward, reward_of
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.settings import QUARK, AdapterSettings
from lmalgebra.training.policies.stepping import Advance, prompts_per_step
from lmalgebra.training.policies.trackers import accelerator_of, end_trackers
from lmalgebra.training.processes import Processes


@dataclass(frozen=True)
class Trained:
    """What came of a training: its `folder`, why it `ended` early (or ""), what was measured on held-out prompts, and
    the formula that its policy was compared with."""

    folder: Path
    ended: str
    validation: list[dict[str, Any]]
    reference: Formula


def train_adapter(
    settings: AdapterSettings,
    open_model: OpenModel,
    open_scorer: OpenScorer | None = None,
    *,
    rewards: Mapping[str, Reward] | None = None,
    resume: bool = False,
    report: Report = silent,
    advance: Advance = lambda measured, steps: None,
    stop: Stop = lambda: False,
) -> Trained:
    """Train a term and put what it learned into `settings.output`; `resume` goes on with a training that was stopped.

    `open_model` and `open_scorer` load what the formula needs, as for a ComposedVoice, and `rewards` are components of
    the caller's, by the names that they have in `settings.reward`. Raises TrainingError for data, settings or rewards
    from which nothing can be learned and a disk that is full, Stopped when `stop` said so, and what loading raises.
    """
    processes = Processes.launched(settings.device)
    reward, about, prompts = processes.first_then_others(lambda: _task(settings, rewards))
    report(f"{len(prompts.train.items):,} prompts to train on, {len(prompts.held_out.items):,} held out.")
    decisive = settings.decisive | {"examples": digest_of(prompts)}
    with Workplace(settings.output, decisive, resume, processes) as place:
        policy = processes.first_then_others(lambda: open_policy(settings, open_model, open_scorer, report))
        with closing(policy), place.disk_errors():
            work, pool = _work(settings, prompts, policy, place, report)
            steps: dict[str, Any] = {
                "settings": settings,
                "prompts": prompts,
                "place": place,
                "advance": advance,
                "stop": stop,
            }
            training = Training(**steps, work=work, reward=reward, rollouts=Rollouts(policy), pool=pool)
            ended = training.run()
            end_trackers(work.accelerator)
            place.finish(lambda folder: build(folder, training, about, ended))
    return Trained(place.output, ended, training.progress.validation, policy.reference)


def _task(settings: AdapterSettings, rewards: Mapping[str, Reward] | None) -> tuple[Combined, dict[str, Any], Prompts]:
    """The reward, what it says of itself, and the prompts. Raises LmalgebraError."""
    reward = reward_of(settings.reward, rewards)
    return reward, reward.about(), read_prompts(settings)


def _work(
    settings: AdapterSettings, prompts: Prompts, policy: FormulaPolicy, place: Workplace, report: Report
) -> tuple[Work, Pool | None]:
    """What learning changes, before the first step, and Quark's pool."""
    accelerator = accelerator_of(settings, place, report)
    completions = prompts_per_step(settings, prompts) * settings.samples
    updates = Updates(policy.trainee.parameters(), settings, planned_updates(settings, completions))
    pool = Pool(settings.controls, settings.pool) if settings.objective == QUARK else None
    return Work(settings, policy, accelerator, updates, Coefficients.of(settings)), pool
