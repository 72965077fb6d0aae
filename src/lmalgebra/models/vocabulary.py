"""A Hugging Face tokenizer as a `Tokenizer`."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from jinja2 import TemplateError
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

from lmalgebra.errors import ModelError
from lmalgebra.models.base import Message, Parts, Quoted, TextStream, Tokenizer

FULL_TAIL = 4
"""Tokens at the end of a text whose reading a next token may change, with room to spare."""

LONGEST_TAIL = 64
"""Where the end of a text cannot be read apart from so far back on, the text is read whole."""

_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")
"""How tokens of single bytes are written; a run of them is read as a whole."""


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer of the `tokenizers` library, as Transformers loads it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_tokens: frozenset[int], source: str) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                f"The tokenizer of '{source}' has no tokenizer.json.",
                "Save it once with Transformers' AutoTokenizer(...).save_pretrained(FOLDER) and use that folder.",
            )
        self._tokenizer = tokenizer
        self._source = source
        self.end_tokens = end_tokens
        self.start_token = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self._can_begin: dict[int, bool] = {}
        self.has_chat_template = bool(tokenizer.chat_template)

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        return dict(self._tokenizer.get_vocab())

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        return tuple(self._tokenizer.get_added_vocab())

    def encode(self, parts: Parts, start: bool = True) -> list[int]:
        if not any(isinstance(part, Quoted) for part in parts):
            return list(self._tokenizer("".join(parts), add_special_tokens=start).input_ids)
        tokens = list(self._tokenizer("", add_special_tokens=start).input_ids)
        for part in parts:
            quoted = isinstance(part, Quoted)
            encoded = self._tokenizer(str(part), add_special_tokens=False, split_special_tokens=quoted)
            tokens += encoded.input_ids
        return tokens

    def has_control(self, text: str) -> bool:
        return any(control in text for control in self._controls)

    def chat(self, messages: Sequence[Message], chat_template: str | None = None) -> str:
        if chat_template is None and not self.has_chat_template:
            raise ModelError(
                f"The model '{self._source}' has no chat template, so it takes no system prompt or conversation.",
                'Give its term a plain prefix instead (`prefix = "..."`), or a `template` or `chat_template`.',
            )
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=chat_template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"The chat template of '{self._source}' refuses this conversation: {error}.",
                "Check the roles of its messages, or give the term a `chat_template` of its own.",
            ) from error
        return str(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def continuations(self, tokens: Sequence[int], candidates: Sequence[int]) -> list[str]:
        """Only the end of the text is read for each candidate: what precedes a token that begins a character of its own
        is read alike whatever follows."""
        text, tail = self.decode(tokens), self._tail(tokens)
        ending = self.decode(tail)
        if not ending or not text.endswith(ending):
            tail, ending = list(tokens), text
        before = text[: len(text) - len(ending)]
        return [before + self.decode([*tail, candidate]) for candidate in candidates]

    def _tail(self, tokens: Sequence[int]) -> list[int]:
        """The shortest end of `tokens` that can be read apart, or all."""
        first = len(tokens) - FULL_TAIL
        for start in range(first, max(0, first - LONGEST_TAIL), -1):
            if self._begins(tokens[start]):
                return list(tokens[start:])
        return list(tokens)

    def _begins(self, token: int) -> bool:
        """Whether a token says something that no token before it can change."""
        if token not in self._can_begin:
            said = self.decode([token]).strip()
            piece = self._tokenizer.convert_ids_to_tokens(token) or ""
            self._can_begin[token] = bool(said) and said[0] != "\ufffd" and not _BYTE_PIECE.fullmatch(piece)
        return self._can_begin[token]

    def stream(self) -> TextStream:
        return _HuggingFaceStream(self._tokenizer)

    def piece(self, token: int) -> bytes:
        return self._pieces.get(token, b"")

    @cached_property
    def _pieces(self) -> Mapping[int, bytes]:
        from lmalgebra.models.pieces import pieces

        return pieces(self._tokenizer, self._source)


class _HuggingFaceStream(TextStream):
    """Text by `DecodeStream`, which waits for whole characters; the last may stay unfinished."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        text = self._stream.step(self._tokenizer.backend_tokenizer, token)
        if text is None:
            self._pending.append(token)
            return ""
        self._pending.clear()
        return str(text)

    def finish(self) -> str:
        return str(self._tokenizer.decode(self._pending, skip_special_tokens=True))
