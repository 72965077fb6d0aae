"""The defaults of generation that a voice carries."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from lmalgebra.algebra.weights import shown
from lmalgebra.errors import DecodingError

_MOST_NATS = 1e6
"""More could leave the range of float32 in sums."""


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
    - `presence_penalty`: nats that every token said before loses; 0 is none.
    - `frequency_penalty`: nats that a token loses for each time it was said before; 0 is none.
    - `logit_bias`: pairs of a token's id and the nats that it gains at every position; none twice.
    - `stop`: texts, none empty; generation stops before the first that occurs.
    - `seed`: a whole number of at least 0.
    - `samples`: texts for each prompt, at least 1.
    - `top_logprobs`: how many of the likeliest tokens are told beside each one that is said, at least 0.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    seed: int = 0
    samples: int = 1
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        self._whole("max_new_tokens", 1)
        self._whole("min_new_tokens", 0)
        if self.top_k is not None:
            self._whole("top_k", 1)
        self._whole("seed", 0)
        self._whole("samples", 1)
        self._whole("top_logprobs", 0)
        self._number("temperature", "a number of at least 0", self.temperature, lambda value: value >= 0)
        self._number("top_p", "a number above 0 and at most 1", self.top_p, lambda value: 0 < value <= 1)
        self._number("min_p", "a number from 0 to 1", self.min_p, lambda value: 0 <= value <= 1)
        self._number("repetition_penalty", "a number above 0", self.repetition_penalty, lambda value: value > 0)
        for key in ("presence_penalty", "frequency_penalty"):
            self._number(key, "a number", getattr(self, key), lambda value: True)
        self._token_biases()
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

    def _token_biases(self) -> None:
        pairs = self.logit_bias
        if not isinstance(pairs, list | tuple) or not all(map(_is_token_bias, pairs)):
            raise _out_of_range("logit_bias", pairs, "a list of pairs such as [17, -2.5], a token's id and nats")
        if len({token for token, _ in pairs}) < len(pairs):
            raise _out_of_range("logit_bias", pairs, "each token once")
        object.__setattr__(self, "logit_bias", tuple((token, float(nats)) for token, nats in pairs))

    def _stop_texts(self) -> None:
        texts = self.stop
        if isinstance(texts, str) or not isinstance(texts, list | tuple):
            raise _out_of_range("stop", texts, "a list of texts")
        for text in texts:
            if not isinstance(text, str) or not text:
                raise _out_of_range("stop", texts, "a list of texts, none of them empty")
        object.__setattr__(self, "stop", tuple(texts))


def _is_token_bias(pair: object) -> bool:
    """Whether it is a token's id and a number."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or any(isinstance(part, bool) for part in pair):
        return False
    token, nats = pair
    return isinstance(token, int) and token >= 0 and isinstance(nats, int | float) and abs(nats) <= _MOST_NATS


def _out_of_range(key: str, value: object, allowed: str) -> DecodingError:
    return DecodingError(f"{key}={shown(value)} is out of range.", f"Give {allowed}.")
