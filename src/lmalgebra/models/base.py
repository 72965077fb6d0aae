"""What decoding needs from a model: a `Session` over its weights and a `Tokenizer`.

Words: a *row* is one context held in the session's key-value cache; a *session* is one set of weights with many
rows. Terms that share weights, the samples of one prompt and the requests of many users are all rows of one session,
so that one forward pass serves them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NewType, TypedDict

from lmalgebra.algebra.adapter import Adapter, adapter_text
from lmalgebra.errors import ModelError, PromptError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lmalgebra.models.peft_folder import LowRank

Row = NewType("Row", int)


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Ahead:
    """What `Session.look_ahead` finds for a row.

    `after` are the logits after the last of its new tokens, as many as there were lists of alternatives and new tokens,
    `[wanted, vocabulary]`; `nexts` those after each alternative, list by list, `[alternatives, vocabulary]`.
    """

    after: Tensor
    nexts: Tensor


@dataclass(frozen=True)
class SeenMass:
    """How much of the probability a session was told over its `positions` so far: the mean, and the least at one.

    What it was not told takes a bound, so that its logits are approximate. `reworded` counts the positions at which its
    server has read other tokens than the row's, since it takes only text.
    """

    positions: int
    mean: float
    least: float
    reworded: int = 0

    def __str__(self) -> str:
        count = f"{self.positions:,} positions"
        if self.least > 1 - 1e-6 and not self.reworded:  # as exactly as log-probabilities in float32 can tell it
            return f"told all of the probability at {count}."
        read = f" At {self.reworded:,} of them it read the text as other tokens." if self.reworded else ""
        return (
            f"told {self.mean:.2%} of the probability on average and {self.least:.2%} at least, at {count}; what is "
            f"left is spread over the other tokens, so the formula's law is approximate.{read}"
        )


class Session(ABC):
    """Many rows of context over one set of weights. Rows are of different lengths and independent of each other."""

    vocabulary_size: int
    """Entries of a logits vector."""

    context_length: int
    """Most tokens that a row may hold."""

    device: torch.device
    """Where its logits are."""

    notes: tuple[str, ...] = ()
    """Sentences a user should read, such as why a slower path is taken."""

    @property
    def seen(self) -> SeenMass | None:
        """How much of the probability its logits rest on, where that is not all of it."""
        return None

    @property
    def room_left(self) -> int | None:
        """Tokens for which space could still be taken; None where nothing bounds it.

        A row may take more space than it has tokens, so that one which just fits may be refused.
        """
        return None

    @abstractmethod
    def open(self, tokens: Sequence[int] = (), adapter: Adapter | None = None, room: int = 0) -> Row:
        """Start a row that holds `tokens`. Nothing is computed until the row is first extended or forked.

        It and its forks are computed with the weights of `adapter` laid over the model's, which is loaded if need be.
        `room` is the most tokens that the row will hold, if that is known: the space for them is taken now, so that
        no extension up to there fails for want of space. What lies past `context_length` is not counted.
        Raises ModelError for an adapter that this session does not have, PromptError when `tokens` exceed
        `context_length`, CacheFullError when there is no room; then no row has changed.
        """

    def load_adapter(self, adapter: Adapter) -> None:
        """Have the weights of `adapter` ready, so that `open` need not wait for them; they stay as long as the session.

        Another thread may extend rows meanwhile. Raises ModelError for an adapter that this session cannot have. Here
        there is none.
        """
        raise ModelError(f"The adapter {adapter_text(adapter)} cannot be used: this engine has no adapters.")

    def renew_adapter(self, place: str, changes: Mapping[str, LowRank]) -> None:
        """Take `changes`, by the names of the layers that they change, for the adapter `place` from now on.

        What it was before, loaded or given, is let go. Raises ModelError for changes that do not fit, and while rows
        under that adapter are open, since what they have read would be another adapter's. Here there is none.
        """
        raise ModelError(f"The adapter '{place}' cannot be used: this engine has no adapters that change.")

    def forget_adapter(self, place: str) -> None:
        """Let go of the adapter `place`. Raises ModelError while rows under it are open. Here there is none."""
        del place

    @abstractmethod
    def fork(self, row: Row, length: int | None = None, room: int = 0) -> Row:
        """A new row with the first `length` tokens of `row`, or all; what was computed of them is not computed again.

        It is under the adapter of `row`. If they were not all computed yet, `row` is computed first, so that `n` forks
        read it once. `room` is as in `open`. Raises ModelError when `row` holds fewer than `length` tokens,
        CacheFullError when there is no room; then no row has changed.
        """

    def park(self, row: Row) -> None:
        """A hint that `row` will only be forked from now on, so that it may move out of the way of rows that grow.

        It may be used as ever, but the room that was taken for it is given back. Here nothing moves.
        """
        self.length(row)  # a closed row is refused

    @abstractmethod
    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        """Append tokens to any rows, any number to each, in one pass.

        Returns for each row the logits after the last `wanted[row]` of its new tokens, or after all of them where
        `wanted` does not name it or asks for more, `[wanted, vocabulary]`, at least float32, valid until the next
        call. When it raises, no row has changed. Raises PromptError past `context_length`, CacheFullError when there
        is no room.
        """

    def look_ahead(
        self, tokens: Mapping[Row, Sequence[int]], nexts: Mapping[Row, Sequence[Sequence[int]]]
    ) -> dict[Row, Ahead]:
        """Append tokens as `extend` does, and read alternatives that do not stay.

        The last list of `nexts[row]` holds tokens that might follow the whole row, the one before it those that might
        follow all but its last token, and so on; each is read alone. Raises as `extend`; then no row has changed. Here
        each alternative is read by a fork, which copies the row; sessions that can do better override this.
        """
        lengths = {row: self.length(row) for row in tokens}
        extended = self.extend(tokens, {row: len(nexts[row]) for row in tokens})
        after = {row: logits.clone() for row, logits in extended.items()}  # the next pass may write there
        forks: dict[Row, list[tuple[Row, int]]] = {row: [] for row in tokens}
        try:
            for row in tokens:
                for length, alternatives in enumerate(nexts[row], self.length(row) + 1 - len(nexts[row])):
                    for token in alternatives:
                        forks[row].append((self.fork(row, length), token))
            found = self.extend({fork: [token] for each in forks.values() for fork, token in each})
        except BaseException:
            for row, length in lengths.items():
                self.rewind(row, length)
            raise
        finally:
            for fork, _ in chain.from_iterable(forks.values()):
                self.close(fork)
        return {row: Ahead(after[row], _stacked([found[fork] for fork, _ in forks[row]], after[row])) for row in tokens}

    @abstractmethod
    def rewind(self, row: Row, length: int) -> None:
        """Forget all but the first `length` tokens of `row`."""

    @abstractmethod
    def close(self, row: Row) -> None:
        """Give the row's room back. Closing a closed row raises ModelError, as does any other use of it."""

    @abstractmethod
    def length(self, row: Row) -> int:
        """Tokens that `row` holds."""


@dataclass(frozen=True)
class Asked:
    """Whose next-token scores are wanted: a text's, after its first tokens up to `first`, and after each one more.

    `state` is what the scorer remembers of it. `candidates` are the tokens to score, `[positions, candidates]`, -1
    where there is none; or None where all are to be scored.
    """

    state: Any
    tokens: Sequence[int]
    first: int
    candidates: Tensor | None = None


class Scorer(ABC):
    """Scores next tokens of many texts, beside language models; what a classifier or a constraint is when loaded."""

    notes: tuple[str, ...] = ()
    """Sentences a user should read."""

    def begin(self, messages: Sequence[Message], most: int | None = None) -> Any:
        """What is remembered of a text that answers `messages`; it is given back with every question.

        `most` is the most tokens that the text may have, if that is known.
        """
        return None

    @abstractmethod
    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        """For each text its scores in nats, `[positions, vocabulary]` or those of its candidates, in their shape.

        Tokens at the end of a text may be others than at the call before: drafts come and go. Raises ModelError when
        it cannot score, DecodingError when the text cannot go on.
        """

    def levels(self, asked: Sequence[Asked]) -> list[Tensor]:
        """How likely each text has what a classifier looks for, the log-probability (nats) at each position,
        `[positions]`. Raises ModelError where it is no classifier.
        """
        raise ModelError("This term reads no text, so it cannot steer a weight.", "Give a classifier.")

    def end(self, state: Any) -> None:
        """The text is finished or given up."""
        del state  # nothing was kept


class TextStream(ABC):
    """Turns tokens that arrive one by one into text that never ends inside a character."""

    @abstractmethod
    def push(self, token: int) -> str:
        """The text that `token` completes, often empty."""

    @abstractmethod
    def finish(self) -> str:
        """What is left when no more tokens come."""


class Quoted(str):
    """Text of a user, inside text of a voice's author: it never becomes a control token."""

    __slots__ = ()


Parts = Sequence[str | Quoted]
"""What a context is made of, in order: an author's text, in which control tokens count, and quoted text."""


class Tokenizer(ABC):
    """Text to tokens and back, for one vocabulary."""

    end_tokens: frozenset[int]
    """Tokens after which the model has nothing more to say."""

    has_chat_template: bool

    start_token: int | None = None
    """What a text that follows nothing is read after: the token that begins texts, or else the one that ends them."""

    @property
    @abstractmethod
    def vocabulary(self) -> Mapping[str, int]:
        """Every token's piece and its id. Two models can stand in one formula when these are equal."""

    @abstractmethod
    def has_control(self, text: str) -> bool:
        """Whether `text` spells a control token."""

    @abstractmethod
    def encode(self, parts: Parts, start: bool = True) -> list[int]:
        """Tokens of the parts put together; with `start`, after the tokens that the model wants first."""

    @abstractmethod
    def chat(self, messages: Sequence[Message], chat_template: str | None = None) -> str:
        """A conversation as text, up to where the assistant speaks, by `chat_template` or the model's own.

        Raises ModelError when there is no template, or it fails.
        """

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, control tokens left out."""

    def continuations(self, tokens: Sequence[int], candidates: Sequence[int]) -> list[str]:
        """The text of `tokens` with each of `candidates` added."""
        return [self.decode([*tokens, candidate]) for candidate in candidates]

    @abstractmethod
    def stream(self) -> TextStream:
        """A fresh `TextStream`."""

    def piece(self, token: int) -> bytes:
        """What a token says, in bytes, which may be a part of a character; nothing for a control token.

        Raises ModelError where this cannot be known, which constraints need.
        """
        raise ModelError("This tokenizer does not say which bytes a token has, which a constraint needs to know.")


@dataclass(frozen=True)
class LanguageModel:
    """Weights that are loaded and ready: a session, its tokenizer, and what a user may want to know of them."""

    source: str
    session: Session
    tokenizer: Tokenizer
    summary: str = ""


def _stacked(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    import torch

    return torch.cat(list(parts)) if parts else like[:0]


def vocabulary_difference(first: Tokenizer, second: Tokenizer) -> str:
    """How two vocabularies differ, or what they make of one text, in words; empty when they are equal."""
    ours, theirs = first.vocabulary, second.vocabulary
    if ours is theirs:
        return ""
    if ours == theirs:
        return _spelling_difference(first, second)
    if len(ours) != len(theirs):
        return f"{len(ours):,} tokens against {len(theirs):,}"
    by_token = sorted(ours.items(), key=lambda item: item[1])
    piece, token = next(item for item in by_token if theirs.get(item[0]) != item[1])
    there = f"token {theirs[piece]} in" if piece in theirs else "absent from"
    return f"{piece!r} is token {token} in one and {there} the other"


SPELLED = "It's 12,345 naïve café notes:\n\n  n = [1, 2]\t# Привет, 你好 🙂 don't  stop!"
"""A text on which tokenizers of one vocabulary part ways: digits, spaces, accents, scripts."""


def _spelling_difference(first: Tokenizer, second: Tokenizer) -> str:
    """Where two tokenizers of one vocabulary split a text differently; those that cannot spell it are not compared."""
    try:
        ours, theirs = (each.encode([SPELLED], start=False) for each in (first, second))
    except PromptError:
        return ""
    if ours == theirs:
        return ""
    shorter = min(len(ours), len(theirs))
    same = next((at for at in range(shorter) if ours[at] != theirs[at]), shorter)
    one, other = first.decode(ours[same : same + 1]), second.decode(theirs[same : same + 1])
    return f"after {first.decode(ours[:same])!r} one reads the token {one!r} and the other {other!r}"
