"""What each term reads: the same conversation, told to every term in its own way."""

from collections.abc import Callable, Sequence
from functools import partial

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmalgebra.algebra import ModelTerm, Term
from lmalgebra.errors import PromptError, VoiceError
from lmalgebra.models.base import LanguageModel, Message, Parts, Quoted, Tokenizer

Conversation = tuple[Message, ...]

_TEMPLATE_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)

_MARK = "\ue000{}\ue001"
"""Stands for a user's text while a template is rendered, so that it can be told from the template's own."""


def conversation(prompt: str | Sequence[Message]) -> Conversation:
    """A prompt as a conversation that ends with the user. Raises PromptError when it is empty or malformed."""
    messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
    if not messages:
        raise PromptError("The conversation is empty.", "Give at least one message.")
    for message in messages:
        if set(message) != {"role", "content"} or message["role"] not in ("system", "user", "assistant"):
            raise PromptError(
                f"{dict(message)!r} is not a message.",
                'Write {"role": "user", "content": "..."}; roles are system, user and assistant.',
            )
        if not isinstance(message["content"], str):
            raise PromptError(f"The content of a message is {message['content']!r}, which is not text.", "Give text.")
    if messages[-1]["role"] != "user":
        raise PromptError("The last message of a conversation is not the user's.", "End it with a user message.")
    if not messages[-1]["content"]:
        raise PromptError("The prompt is empty.", "Give at least one character.")
    return messages  # type: ignore[return-value]


def context_tokens(term: Term, model: LanguageModel, messages: Conversation) -> list[int]:
    """The tokens that `term` reads before it speaks.

    Raises PromptError when they fill the model's context, ModelError when the model cannot be addressed so.
    """
    tokens = told_tokens(term, model, messages)
    room = model.session.context_length
    if len(tokens) >= room:
        raise PromptError(
            f"The prompt of term `{term.name}` has {len(tokens):,} tokens, which leaves no room in the {room:,} that "
            f"'{model.source}' can read.",
            "Shorten the prompt or the history.",
        )
    if not tokens:
        raise PromptError(f"The prompt of term `{term.name}` has no tokens.", "Give it a prefix, or a longer prompt.")
    return tokens


def told_tokens(term: Term, model: LanguageModel, messages: Conversation) -> list[int]:
    """The tokens of `messages` as `term` tells them to its model, however many they are, or none.

    Raises ModelError when the model cannot be addressed so.
    """
    description, tokenizer = term.description, model.tokenizer
    if not isinstance(description, ModelTerm):
        raise VoiceError(
            f"The term `{term.name}` names no model.", "Describe it under [terms] or with model.term(...)."
        )
    chats = tokenizer.has_chat_template or description.system is not None or description.chat_template is not None
    if description.template is not None:
        return tokenizer.encode(_parts(tokenizer, messages, partial(_fill_template, description)))
    if description.prefix is not None or not chats:
        return tokenizer.encode(_parts(tokenizer, messages, partial(_plain, description.prefix or "")))
    own: list[Message] = []
    if description.system is not None:
        own = [Message(role="system", content=description.system)]
        messages = tuple(message for message in messages if message["role"] != "system")
    parts = _parts(tokenizer, messages, lambda told: tokenizer.chat([*own, *told], description.chat_template))
    return tokenizer.encode(parts, start=False)


def _plain(prefix: str, messages: Sequence[Message]) -> str:
    return prefix + "\n".join(message["content"] for message in messages)


def _fill_template(description: ModelTerm, messages: Sequence[Message]) -> str:
    try:
        template = ImmutableSandboxedEnvironment().from_string(description.template or "")
        return template.render(prompt=messages[-1]["content"], system=description.system or "", messages=list(messages))
    except _TEMPLATE_ERRORS as error:
        raise VoiceError(
            f"The template {description.template!r} cannot be filled in: {error}.",
            "It is Jinja over `prompt`, `system` and `messages`.",
        ) from error


def _parts(tokenizer: Tokenizer, messages: Conversation, render: Callable[[Sequence[Message]], str]) -> Parts:
    """The rendered text; where a message holds text that spells a control token, in parts, with the messages quoted."""
    if not any(tokenizer.has_control(message["content"]) for message in messages):
        return [render(messages)]
    marks = [_MARK.format(index) for index in range(len(messages))]
    rest = render([Message(role=each["role"], content=mark) for each, mark in zip(messages, marks, strict=True)])
    parts: list[str] = []
    for message, mark in zip(messages, marks, strict=True):
        before, found, rest = rest.partition(mark)
        if not found:
            raise PromptError(
                "A message spells a control token, and the template changes messages too much to keep it out.",
                "Remove the control token from the message.",
            )
        parts += [before, Quoted(message["content"])]
    return [*parts, rest]
