"""The defaults of generation that a voice carries."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from lmalgebra.algebra.weights import shown
from lmalgebra.errors import DecodingError


@dataclass(frozen=True)
class GenerationSettings:
    """How to sample from a formula's distribution. Raises DecodingError for a value out of range.

    - `max_new_tokens`: tokens, at least 1; generation stops there.
    - `min_new_tokens`: tokens, at least 0 and at most `max_new_tokens`; no end before.
    - `temperature`: a divisor of the log-probabilities, at least 0; 0 is greedy.
    - `top_k`: tokens, at least 1; only the likeliest are kept. None keeps all.
    - `top_p`: a probability, above 0 and at most 1; the smallest set that holds it is kept.
    - `min_p`: a share of the likeliest token's probability, from 0 to 1; less likely tokens are dropped.
    - `repetition_penalty`: a factor above 0 against tokens generated before; 1 is none.
    - `stop`: texts, none empty; generation stops before the first that occurs.
    - `seed`: a whole number of at least 0.
    - `samples`: texts for each prompt, at least 1.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    samples: int = 1

    def __post_init__(self) -> None:
        self._whole("max_new_tokens", 1)
        self._whole("min_new_tokens", 0)
        if self.top_k is not None:
            self._whole("top_k", 1)
        self._whole("seed", 0)
        self._whole("samples", 1)
        self._number("temperature", "a number of at least 0", self.temperature, lambda value: value >= 0)
        self._number("top_p", "a number above 0 and at most 1", self.top_p, lambda value: 0 < value <= 1)
        self._number("min_p", "a number from 0 to 1", self.min_p, lambda value: 0 <= value <= 1)
        self._number("repetition_penalty", "a number above 0", self.repetition_penalty, lambda value: value > 0)
        self._stop_texts()
        if self.min_new_tokens > self.max_new_tokens:
            raise DecodingError(
                f"min_new_tokens={self.min_new_tokens} is more than max_new_tokens={self.max_new_tokens}.",
                "Lower the one or raise the other.",
            )

    def replace(self, **changes: Any) -> GenerationSettings:
        """A copy with some settings changed; raises DecodingError for a key that is none of them."""
        known = [field.name for field in fields(self)]
        for key in changes:
            if key not in known:
                closest = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {closest[0]!r}?" if closest else f"Settings: {', '.join(known)}."
                raise DecodingError(f"There is no generation setting {key!r}.", hint)
        return replace(self, **changes)

    def _whole(self, key: str, least: int) -> None:
        value = getattr(self, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _out_of_range(key, value, f"a whole number of at least {least}")

    def _number(self, key: str, allowed: str, value: object, is_allowed: Callable[[float], bool]) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _out_of_range(key, value, allowed)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or not is_allowed(number):
            raise _out_of_range(key, value, allowed)
        object.__setattr__(self, key, number)

    def _stop_texts(self) -> None:
        texts = self.stop
        if isinstance(texts, str) or not isinstance(texts, list | tuple):
            raise _out_of_range("stop", texts, "a list of texts")
        for text in texts:
            if not isinstance(text, str) or not text:
                raise _out_of_range("stop", texts, "a list of texts, none of them empty")
        object.__setattr__(self, "stop", tuple(texts))


def _out_of_range(key: str, value: object, allowed: str) -> DecodingError:
    return DecodingError(f"{key}={shown(value)} is out of range.", f"Give {allowed}.")
