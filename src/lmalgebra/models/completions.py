"""What servers of OpenAI's completions protocol answer, which each writes in its own way, read into one form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from lmalgebra.errors import ModelError
from lmalgebra.models.token_names import TokenNames


@dataclass(frozen=True)
class NamedToken:
    """A token that a server tells of, by as much as it says: its id, its bytes and its name."""

    name: str
    logprob: float
    token: int | None = None
    spelled: bytes | None = None

    def found(self, names: TokenNames) -> int | None:
        """Which token of our vocabulary it is; None where it is none, or one that cannot be told."""
        if self.token is not None:
            return self.token if self.token in names else None
        if self.spelled is not None and (token := names.of_bytes(self.spelled)) is not None:
            return token
        return names.of_name(self.name)


@dataclass(frozen=True)
class Completion:
    """What a server says of the token after a prompt: likely ones, whether its own one ended the text, and how many
    tokens it has read, where it says so. `hides_end` is set where it tells of other tokens than the end it came to.
    """

    tokens: tuple[NamedToken, ...]
    ended: bool
    read: int | None
    hides_end: bool = False


def read_completion(answer: Any, address: str) -> Completion:
    """The completion in an answer; one without log-probabilities has no tokens.

    Raises ModelError for what is no answer to one prompt.
    """
    try:
        (choice,) = answer["choices"]
        tokens = tuple(_tokens(choice.get("logprobs")))
        read = (answer.get("usage") or {}).get("prompt_tokens")
        return Completion(tokens, choice.get("finish_reason") == "stop", read)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ModelError(
            f"The server at {address} answers with something that is no completion of one prompt.",
            "Check that the address is that of OpenAI's completions protocol.",
        ) from None


def _tokens(logprobs: Any) -> Iterator[NamedToken]:
    """What is told of the first new token. Raises ValueError and its like for what cannot be read."""
    if not logprobs:
        return
    if logprobs.get("content"):  # llama.cpp's own server, and others that answer as to a chat
        own, *_ = logprobs["content"]
        likely = [_in_parts(each) for each in own["top_logprobs"]]
        yield from likely
        if (drawn := _in_parts(own)) not in likely:
            yield drawn
    elif logprobs.get("top_logprobs"):
        likely = logprobs["top_logprobs"][0] or {}
        yield from (NamedToken(name, _number(logprob)) for name, logprob in likely.items())


def _in_parts(each: Mapping[str, Any]) -> NamedToken:
    spelled, token = each.get("bytes"), each.get("id")
    return NamedToken(
        str(each["token"]),
        _number(each["logprob"]),
        None if token is None else int(token),
        bytes(spelled) if spelled else None,
    )


def _number(logprob: Any) -> float:
    number = float(logprob)
    if isnan(number):
        raise ValueError("a log-probability is no number")
    return min(0.0, number)  # rounding may leave a little more
