"""What is asked of a voice, and what comes back."""

from dataclasses import dataclass

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding.context import Conversation
from lmalgebra.errors import LmalgebraError

Likeliest = tuple[tuple[int, float], ...]
"""The likeliest tokens at one position, each with its log-probability (nats) under the formula, best first."""


@dataclass(frozen=True)
class Request:
    """A conversation, and how many samples of which settings to say after it. `index` is the caller's own."""

    index: int
    messages: Conversation
    settings: GenerationSettings


@dataclass(frozen=True)
class Sample:
    """One finished text.

    `tokens` are all that were drawn, an end token included; `logprobs` (nats) are theirs under the formula, before
    penalty, temperature and truncation; `finish_reason` is "end" (the model ended it), "stop" (a stop string) or
    "length"; `seed` gives the same text again, alone or among others. With `top_logprobs`, `likeliest` has for each
    token those that the formula found likeliest at its place.
    """

    prompt: Conversation
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    seed: int
    index: int = 0
    number: int = 0
    likeliest: tuple[Likeliest, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Text that sample `number` of request `index` has just added.

    `tokens`, `logprobs` and `likeliest` are as in Sample, of the tokens drawn since the piece before. The last of them
    may say more than `text`, or nothing: what could become a stop string is held back.
    """

    index: int
    number: int
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    likeliest: tuple[Likeliest, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Request `index` cannot be answered, or not to its end: its prompt is too long, its formula leaves no token, ...

    The other requests go on.
    """

    index: int
    error: LmalgebraError


Event = Piece | Sample | Refusal
