"""A Hugging Face tokenizer as a `Tokenizer`."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from jinja2 import TemplateError
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

from lmalgebra.errors import ModelError
from lmalgebra.models.base import Message, Parts, Quoted, TextStream, Tokenizer


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
