"""The tokenizer and chat template that a .gguf file carries: llama.cpp applies the one, Transformers the other."""

import codecs
import ctypes
from collections.abc import Mapping, Sequence
from functools import cached_property

from jinja2 import TemplateError

from lmalgebra.errors import ModelError
from lmalgebra.models.base import Message, Parts, Quoted, TextStream, Tokenizer
from lmalgebra.models.llamacpp import GGUFModel

CHAT_TEMPLATE = "tokenizer.chat_template"


class GGUFTokenizer(Tokenizer):
    """The vocabulary of a `GGUFModel`."""

    def __init__(self, model: GGUFModel) -> None:
        self._model = model  # which the vocabulary lives and dies with
        self._api, self._vocabulary, self._size = model.api, model.vocabulary, model.vocabulary_size
        self._source = str(model.file)
        self._template = model.metadata(CHAT_TEMPLATE)
        self.has_chat_template = bool(self._template)
        self.end_tokens = frozenset(
            token for token in range(self._size) if self._api.llama_vocab_is_eog(self._vocabulary, token)
        )
        start = self._api.llama_vocab_bos(self._vocabulary)
        self.start_token = start if start >= 0 else self.end

    @property
    def end(self) -> int | None:
        """The token that ends a text or, in most models that chat, an answer."""
        end = self._api.llama_vocab_eos(self._vocabulary)
        return end if end >= 0 else None

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        texts = [self._text(token) for token in range(self._size)]
        if self._api.llama_vocab_type(self._vocabulary) == self._api.LLAMA_VOCAB_TYPE_SPM:
            texts = [text.replace(" ", "\u2581") for text in texts]  # as the file and other libraries write it
        return {text: token for token, text in enumerate(texts)}

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        tokens = (each for each in range(self._size) if self._api.llama_vocab_is_control(self._vocabulary, each))
        return tuple(map(self._text, tokens))

    def has_control(self, text: str) -> bool:
        return any(control in text for control in self._controls)

    def encode(self, parts: Parts, start: bool = True) -> list[int]:
        if not any(isinstance(part, Quoted) for part in parts):
            return self._tokens("".join(parts), start, controls=True)
        tokens = self._tokens("", start, controls=True)
        for part in parts:
            tokens += self._tokens(str(part), start=False, controls=not isinstance(part, Quoted))
        return tokens

    def _tokens(self, text: str, start: bool, controls: bool) -> list[int]:
        given = text.encode()
        room = len(given) + 8  # no token is shorter than a byte
        found = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocabulary, given, len(given), found, room, start, controls)
        return found[:count]

    def chat(self, messages: Sequence[Message], chat_template: str | None = None) -> str:
        template = chat_template or self._template
        if not template:
            raise ModelError(
                f"The model '{self._source}' has no chat template, so it takes no system prompt or conversation.",
                'Give its term a plain prefix instead (`prefix = "..."`), or a `template` or `chat_template`.',
            )
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, _ = render_jinja_template(
                conversations=[[dict(message) for message in messages]],
                chat_template=template,
                add_generation_prompt=True,
                bos_token=self._text(self._api.llama_vocab_bos(self._vocabulary)),
                eos_token=self._text(self._api.llama_vocab_eos(self._vocabulary)),
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"The chat template of '{self._source}' refuses this conversation: {error}.",
                "Check the roles of its messages, or give the term a `chat_template` of its own.",
            ) from error
        return str(texts[0])

    def _text(self, token: int) -> str:
        """How a token is written; nothing for one that the vocabulary does not have."""
        return "" if token < 0 else self._api.llama_vocab_get_text(self._vocabulary, token).decode(errors="replace")

    def piece(self, token: int, room: int = 64) -> bytes:
        buffer = ctypes.create_string_buffer(room)
        size = self._api.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
        return buffer.raw[:size] if size >= 0 else self.piece(token, -size)

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def stream(self) -> TextStream:
        return _Stream(self)


class _Stream(TextStream):
    """Bytes of tokens to whole characters; the last may stay unfinished."""

    def __init__(self, tokenizer: GGUFTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self._tokenizer.piece(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
