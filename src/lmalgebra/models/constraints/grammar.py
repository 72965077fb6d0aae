"""JSON schemas, regular expressions and grammars, followed by llguidance over any of our tokenizers.

A text may end exactly when it is complete. What llguidance could do besides, to force the usual tokens where only one
text is possible, is turned off: any token that the text can begin with is allowed, as the formula wants it.
"""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lmalgebra.algebra import Constraint, Grammar, JsonSchema, Regex
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import DecodingError, VoiceError
from lmalgebra.models.base import LanguageModel, Message, Tokenizer
from lmalgebra.models.constraints.masks import MaskScorer
from lmalgebra.models.constraints.vocabulary_text import vocabulary_text

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

OPTIONS = '\n%llguidance {"no_forcing": true}\n'
JSON_SPACES = " ?"
"""Between the parts of JSON at most one space, since small models would else go on with empty lines for ever."""

NO_TOKEN = "NoExtension"
"""How a matcher begins to say that the vocabulary cannot spell what must come."""


class GrammarScorer(MaskScorer):
    """A language of texts. Raises VoiceError for a description that llguidance cannot read."""

    def __init__(self, description: Constraint, model: LanguageModel, ends: frozenset[int]) -> None:
        from llguidance import LLMatcher

        size = model.session.vocabulary_size
        super().__init__(size, ends)
        tokenizer = _tokenizer(model.tokenizer, size, ends)
        self._what, grammar = _what(description), _lark(description)
        self._fresh = LLMatcher(tokenizer, grammar, log_level=0)
        if self._fresh.is_error():
            raise VoiceError(
                f"{self._what} cannot be used: {_reason(self._fresh.get_error(), isinstance(description, Grammar))}.",
                "Mend it.",
            )

    def begin(self, messages: Sequence[Message], most: int | None = None) -> "_Matching":
        """A text in which nothing was said."""
        return _Matching(self._fresh.deep_copy())

    def _masks_after(self, state: "_Matching", tokens: Sequence[int], first: int) -> list[Tensor]:
        return [self._mask_after(state, tuple(tokens[:length])) for length in range(first, len(tokens) + 1)]

    def _mask_after(self, text: "_Matching", tokens: tuple[int, ...]) -> Tensor:
        return self._masks.get(tokens, lambda: self._computed(text, tokens))

    def _computed(self, text: "_Matching", tokens: tuple[int, ...]) -> Tensor:
        if not text.go_to(tokens):
            return self._all(False)
        matcher = text.matcher
        allowed = np.zeros(self._size, np.bool_)
        if not matcher.is_stopped():  # asked after it has stopped, it could not go back
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.unpackbits(bits, bitorder="little")[: self._size].astype(np.bool_)
        may_end = matcher.is_accepting()
        if matcher.is_error():  # it stays so, and no token of this vocabulary goes on, or it was too much work
            if not matcher.get_error().startswith(NO_TOKEN):
                raise DecodingError(
                    f"{self._what} cannot be followed further: {_reason(matcher.get_error(), False)}.",
                    "Make it simpler.",
                )
            text.start_anew(self._fresh.deep_copy())
        mask = torch.from_numpy(allowed)
        mask[self._ends] = may_end
        return mask


class _Matching:
    """How far a text in progress has been matched."""

    def __init__(self, matcher: "LLMatcher") -> None:
        self.start_anew(matcher)

    def start_anew(self, matcher: "LLMatcher") -> None:
        """Nothing has been matched."""
        self.matcher = matcher
        self._tokens: list[int] = []

    def go_to(self, tokens: Sequence[int]) -> bool:
        """Match exactly `tokens`, from where the last call has left it; False if they are no beginning of a text."""
        same = min(len(self._tokens), len(tokens))
        while self._tokens[:same] != list(tokens[:same]):
            same -= 1
        self.matcher.rollback(len(self._tokens) - same)
        matched = self.matcher.try_consume_tokens(list(tokens[same:]))
        self._tokens = list(tokens[: same + matched])
        return len(self._tokens) == len(tokens)


@lru_cache(maxsize=4)
def _tokenizer(tokenizer: Tokenizer, size: int, ends: frozenset[int]) -> "LLTokenizer":
    """The vocabulary as llguidance wants it, which takes a moment; made once for each."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer, size, ends)))


class _Vocabulary:
    """What llguidance asks of a tokenizer. Control tokens are those that say nothing; a grammar may name them."""

    def __init__(self, tokenizer: Tokenizer, size: int, ends: frozenset[int]) -> None:
        text = vocabulary_text(tokenizer, size, ends)
        names = {token: piece.encode() for piece, token in tokenizer.vocabulary.items()}
        silent = [int(token) for token in text.silent]
        self.tokens = list(text.pieces)
        for token in silent:
            self.tokens[token] = names.get(token, b"")
        self.special_token_ids = [token for token in silent if self.tokens[token]]
        self.bos_token_id = None
        self.eos_token_id = min(ends, default=None)

    def __call__(self, text: bytes) -> list[int]:
        return []  # asked for only where texts are forced


def _lark(description: Constraint) -> str:
    """A description as a Lark grammar."""
    from llguidance import regex_to_lark

    if isinstance(description, JsonSchema):
        return f"start: %json {_with_options(description.schema)}{OPTIONS}"
    if isinstance(description, Regex):
        return f"start: /{regex_to_lark(description.pattern)}/{OPTIONS}"
    assert isinstance(description, Grammar)
    return description.text + OPTIONS


def _with_options(schema: str) -> str:
    """The schema with our way of writing JSON, unless it has one of its own."""
    parsed = json.loads(schema)
    if isinstance(parsed, bool):
        parsed = {} if parsed else {"not": {}}
    given = parsed.get("x-guidance", {})
    if isinstance(given, dict):
        parsed = parsed | {"x-guidance": {"whitespace_pattern": JSON_SPACES} | given}
    return json.dumps(parsed)


def _what(description: Constraint) -> str:
    """The description in an error."""
    ((kind, content),) = description.table().items()
    return f"{kind}={shown(content)}"


def _reason(message: str, with_place: bool) -> str:
    """The part of llguidance's message that says what is wrong, in one line; and where, if that means anything."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["it says nothing"]
    errors = [line for line in lines if line.startswith("error: ")]
    reason = (errors[-1].removeprefix("error: ") if errors else lines[0]).rstrip(".")
    return reason if with_place else re.sub(r"^at \d+\(\d+\): (failed to compile JSON schema: )?", "", reason)
