"""Completions sampled from a policy as it is now, by the project's own engine: many at a time, with its cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding.composed import ComposedVoice, Prompt, left_out
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.request import Refusal, Request, Sample
from lmalgebra.training.policies.policy import FormulaPolicy

ALL = slice(None)


@dataclass(frozen=True)
class Rollout:
    """What the policy said after `prompt`; `tokens` hold the end token where the sample ended by itself."""

    prompt: Prompt
    tokens: tuple[int, ...]
    text: str
    finish_reason: str = ""


class Rollouts:
    """Samples of `policy`, drawn with `settings`, by default its voice's.

    Judging knows the formula's law alone: what a temperature or a truncation makes of it is not in its gradient.
    """

    def __init__(self, policy: FormulaPolicy, settings: GenerationSettings | None = None) -> None:
        self.policy = policy
        self.settings = settings or policy.described.settings

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int,
        seed: int,
        control: str = "",
        share: slice = ALL,
        **settings: Any,
    ) -> list[Rollout]:
        """`samples` completions of each prompt, in the order of the prompts, under the policy as it is now.

        They are a function of the policy, the prompts and `seed` alone; a prompt that is there twice has other samples
        each time. Of a `share` of the prompts they are those that it has among all. `control` is a text that only the
        term that learns reads; `settings` replace some of this object's. Raises PromptError for a prompt that is too
        long and DecodingError where no token is possible.
        """
        chosen = self.settings.replace(**settings)
        return _said(self.policy.voice(control), prompts, chosen, samples, seed, share)

    def sample_reference(
        self, prompts: Sequence[Prompt], *, samples: int, seed: int, share: slice = ALL
    ) -> list[Rollout]:
        """The same of what the policy is compared with."""
        return _said(self.policy.reference_voice, prompts, self.settings, samples, seed, share)

    def score(self, pairs: Sequence[tuple[Prompt, str]], control: str = "") -> list[float]:
        """The log-probability (nats) of each text after its prompt, under the policy as it is now."""
        return [score.total for score in self.policy.voice(control).score_many(pairs)]


def _said(
    voice: ComposedVoice, prompts: Sequence[Prompt], settings: GenerationSettings, samples: int, seed: int, share: slice
) -> list[Rollout]:
    found, refusals = [], []
    for event in voice.run(list(_requests(prompts, settings, samples, seed))[share]):
        if isinstance(event, Sample):
            found.append(event)
        elif isinstance(event, Refusal):
            refusals.append(event)
    if refusals:
        raise left_out(refusals)
    ordered = sorted(found, key=lambda sample: (sample.index, sample.number))
    return [Rollout(prompts[each.index], each.tokens, each.text, each.finish_reason) for each in ordered]


def _requests(prompts: Sequence[Prompt], settings: GenerationSettings, samples: int, seed: int) -> Iterator[Request]:
    seen: Counter[str] = Counter()
    for index, prompt in enumerate(prompts):
        messages = conversation(prompt)
        before = seen[repr(messages)]
        seen[repr(messages)] += 1
        yield Request(index, messages, settings.replace(samples=samples, seed=seed + before * samples))
