"""A vocabulary of any bytes, and texts that a constraint lets through, drawn at random."""

import random
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from lmalgebra.models.base import Asked, LanguageModel, Message, Parts, Scorer, TextStream, Tokenizer


class ByteTokenizer(Tokenizer):
    """Its tokens are `pieces`, and then the end."""

    has_chat_template = False

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = [*pieces, b""]
        self.end = len(pieces)
        self.end_tokens = frozenset([self.end])

    @property
    def vocabulary(self) -> Mapping[str, int]:
        return {f"{token} {piece!r}": token for token, piece in enumerate(self.pieces)}

    def has_control(self, text: str) -> bool:
        return False

    def encode(self, parts: Parts, start: bool = True) -> list[int]:
        raise NotImplementedError

    def chat(self, messages: Sequence[Message], chat_template: str | None = None) -> str:
        raise NotImplementedError

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def stream(self) -> TextStream:
        raise NotImplementedError

    def piece(self, token: int) -> bytes:
        return self.pieces[token]

    @property
    def model(self) -> LanguageModel:
        """A model that has these tokens, and of which no more is asked."""
        session: Any = SimpleNamespace(vocabulary_size=len(self.pieces))
        return LanguageModel("bytes", session, self)


def said(scorer: Scorer, tokenizer: ByteTokenizer, draw: random.Random, most: int, drafts: bool = False) -> list[int]:
    """A text of at most `most` tokens, each drawn among those that `scorer` allows; the end is seldom taken.

    With `drafts` the scorer is now and then asked about texts that are never said.
    """
    state = scorer.begin((), most)
    tokens: list[int] = []
    while len(tokens) < most and tokens[-1:] != [tokenizer.end]:
        if drafts and draw.random() < 0.3:
            draft = [draw.randrange(tokenizer.end) for _ in range(draw.randint(1, 3))]
            scorer.scores([Asked(state, [*tokens, *draft], draw.randint(0, len(tokens)))])
        (scores,) = scorer.scores([Asked(state, list(tokens), len(tokens))])
        allowed = [token for token, score in enumerate(scores[0].tolist()) if score == 0]
        assert allowed, f"no token is possible after {tokenizer.decode(tokens)!r}"
        others = [token for token in allowed if token != tokenizer.end]
        tokens.append(draw.choice(others if others and draw.random() < 0.9 else allowed))
    scorer.end(state)
    return tokens
