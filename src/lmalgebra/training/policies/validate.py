"""What the policy and what it is compared with do on prompts that are not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lmalgebra.training.policies.explore import Explored, explored_of, survey
from lmalgebra.training.policies.rewards import Combined
from lmalgebra.training.policies.seeds import seed_of
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.processes import Processes

if TYPE_CHECKING:
    from lmalgebra.prompt_sets import Item
    from lmalgebra.training.policies.rollouts import Rollout, Rollouts


def validate(
    rollouts: Rollouts,
    reward: Combined,
    items: Sequence[Item],
    settings: AdapterSettings,
    processes: Processes,
    *,
    with_base: bool,
) -> dict[str, Any]:
    """The mean reward on `items`, with that of each component, of the `policy` and, if asked for, of the `base`.

    Both speak with the same seeds each time. The policy's divergence is in nats per token. Of several `processes` each
    does its share. Raises LmalgebraError.
    """
    prompts, control = [item.prompt for item in items], settings.best_control
    drawn = {"samples": settings.samples, "seed": seed_of(settings.seed, "validation")}

    def speaks(share: slice) -> list[Rollout]:
        return rollouts.sample(prompts, control=control, share=share, **drawn)

    def base_speaks(share: slice) -> list[Rollout]:
        return rollouts.sample_reference(prompts, share=share, **drawn)

    said = explored_of(speaks, reward, items, settings.samples, processes)
    found = {"policy": _told(said)}
    if said.rollouts:
        known = survey(rollouts.policy, said.rollouts, control, settings.batch_size, processes)
        found["policy"]["kl"] = known.kl.mean().item()
    if with_base:
        found["base"] = _told(explored_of(base_speaks, reward, items, settings.samples, processes))
    return found


def _told(said: Explored) -> dict[str, Any]:
    return {"reward": said.mean, "rewards": said.rewarded.means(), "completions": len(said.rollouts)}
