"""What chat completions and completions have in common: their choices are made of the same parts, in other words."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

from lmalgebra.decoding import Sample
from lmalgebra.decoding.explanation import Explanation
from lmalgebra.serving.engine import Run
from lmalgebra.serving.schema import Sampling
from lmalgebra.serving.tokens import SpokenToken, TokenTeller

FINISH = {"end": "stop", "stop": "stop", "length": "length"}
"""Why a text ended, in OpenAI's words."""


class Answer(ABC):
    """The answer to one request, whole or in chunks."""

    prefix: ClassVar[str]
    whole: ClassVar[str]
    chunk: ClassVar[str]

    def __init__(self, asked: Sampling, run: Run) -> None:
        self.asked, self.run = asked, run
        self.loaded = run.prepared.speaker.loaded
        self.id = f"{self.prefix}-{uuid4().hex}"
        self.created = int(time.time())

    @property
    @abstractmethod
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are told."""

    @abstractmethod
    def choice(self, place: int, sample: Sample, tokens: Sequence[SpokenToken]) -> dict[str, Any]:
        """A whole text."""

    @abstractmethod
    def piece(
        self, place: int, text: str, tokens: Sequence[SpokenToken], said: bytes, reason: str | None
    ) -> dict[str, Any]:
        """A choice of a chunk: what is new of a text, of which `said` is all, and why it ended, if it has."""

    def opening(self, place: int) -> dict[str, Any] | None:
        """The first choice of a text's chunks, where there is one before any text."""
        return None

    def content(self, explanations: dict[int, Explanation]) -> dict[str, Any]:
        """The whole answer."""
        choices = []
        for place, sample in self.run.in_order:
            choice = self.choice(place, sample, TokenTeller(self.loaded).finish(sample))
            if place in explanations:
                choice["explanation"] = explanations[place].to_json()
            choices.append(choice)
        return self.head(self.whole) | {"choices": choices, "usage": self.usage(), "lmalgebra": self.details()}

    def head(self, kind: str) -> dict[str, Any]:
        """What the whole and every chunk begin with."""
        served = self.run.prepared.served
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }

    def usage(self) -> dict[str, int]:
        """Tokens read, of each prompt once and by the formula's first term, and tokens drawn, ends included."""
        read = sum(self.run.prompt_tokens)
        drawn = sum(len(sample.tokens) for sample in self.run.samples.values())
        return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}

    def details(self) -> dict[str, Any]:
        """What is ours: the formula that spoke, and the seed that says the same again."""
        prepared = self.run.prepared
        return {"formula": str(prepared.speaker.formula), "seed": prepared.settings.seed}
