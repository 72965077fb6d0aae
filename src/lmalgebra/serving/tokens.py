"""Tokens as OpenAI's answers tell them: texts, bytes, and log-probabilities in nats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lmalgebra.decoding import LoadedFormula, Piece, Sample
from lmalgebra.decoding.request import Likeliest
from lmalgebra.errors import ModelError
from lmalgebra.models.base import Tokenizer


@dataclass(frozen=True)
class SpokenToken:
    """A token of a text; `start` counts the text's bytes before it."""

    token: int
    logprob: float
    likeliest: Likeliest
    start: int


class TokenTeller:
    """Tells a text's tokens when the text that they begin in is told; what a stop text cut off is never told."""

    def __init__(self, loaded: LoadedFormula) -> None:
        self._loaded = loaded
        self._waiting: list[SpokenToken] = []
        self._taken, self._said, self._shown = 0, 0, 0

    def push(self, piece: Piece) -> list[SpokenToken]:
        """The tokens that begin in the text up to the end of `piece`."""
        self._take(piece.tokens, piece.logprobs, piece.likeliest)
        self._shown += len(piece.text.encode())
        return list(self._told())

    def finish(self, sample: Sample) -> list[SpokenToken]:
        """The rest of a text that is done."""
        left = slice(self._taken, None)
        self._take(sample.tokens[left], sample.logprobs[left], sample.likeliest[left])
        self._shown = len(sample.text.encode())
        return list(self._told())

    def _take(self, tokens: Sequence[int], logprobs: Sequence[float], likeliest: Sequence[Likeliest]) -> None:
        self._taken += len(tokens)
        for i, token in enumerate(tokens):
            best = likeliest[i] if likeliest else ()
            self._waiting.append(SpokenToken(token, logprobs[i], best, self._said))
            self._said += len(token_bytes(self._loaded, token))

    def _told(self) -> Iterator[SpokenToken]:
        while self._waiting and self._waiting[0].start < self._shown:
            yield self._waiting.pop(0)


def know_tokens(loaded: LoadedFormula) -> None:
    """Make what is made once for a vocabulary; on the service's thread, since tokenizers are not for several."""
    token_text(loaded, 0)
    _names(loaded.tokenizer)


def token_bytes(loaded: LoadedFormula, token: int) -> bytes:
    """What a token says, in bytes; nothing for a token that ends texts."""
    if token in loaded.ends:
        return b""
    try:
        return loaded.tokenizer.piece(token)
    except ModelError:
        return loaded.tokenizer.decode([token]).encode()


def token_text(loaded: LoadedFormula, token: int) -> str:
    """A token as text; bytes that are no whole characters are spelled out, so that different tokens differ, and a token
    that says nothing has its name in the vocabulary."""
    said = token_bytes(loaded, token)
    try:
        return said.decode() or _names(loaded.tokenizer).get(token, f"token {token}")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in said)


@lru_cache(maxsize=8)
def _names(tokenizer: Tokenizer) -> Mapping[int, str]:
    """What tokens are called in the vocabulary."""
    return {token: name for name, token in tokenizer.vocabulary.items()}


def chat_logprobs(loaded: LoadedFormula, tokens: Sequence[SpokenToken]) -> dict[str, Any]:
    """The `logprobs` of a chat completion's choice."""
    content = [
        _entry(loaded, each.token, each.logprob)
        | {"top_logprobs": [_entry(loaded, token, logprob) for token, logprob in each.likeliest]}
        for each in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(loaded: LoadedFormula, token: int, logprob: float) -> dict[str, Any]:
    return {"token": token_text(loaded, token), "logprob": logprob, "bytes": [*token_bytes(loaded, token)] or None}


def completion_logprobs(loaded: LoadedFormula, tokens: Sequence[SpokenToken], text_before: bytes) -> dict[str, Any]:
    """The `logprobs` of a completion's choice. Places count characters of the text; the drawn token is always among
    the likeliest. `text_before` is the text up to the first of `tokens`, or longer.
    """
    return {
        "tokens": [token_text(loaded, each.token) for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [
            {token_text(loaded, token): logprob for token, logprob in (*each.likeliest, (each.token, each.logprob))}
            for each in tokens
        ],
        "text_offset": [len(text_before[: each.start].decode(errors="ignore")) for each in tokens],
    }
