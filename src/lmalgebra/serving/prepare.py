"""From a request to what the engine is asked: a voice, prompts and settings, with every limit kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmalgebra.algebra import Bias, GenerationSettings, ModelTerm, Term
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.composed import Prompt
from lmalgebra.decoding.context import conversation
from lmalgebra.models.base import Message
from lmalgebra.serving.errors import invalid, not_allowed
from lmalgebra.serving.formulas import asked_formula
from lmalgebra.serving.schema import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    Continued,
    Drawing,
    MeasureRequest,
    RewriteRequest,
    Sampling,
    ScoreRequest,
)
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice


@dataclass(frozen=True)
class Prepared:
    """What is to be said, or scored: `speaker` after each of `prompts`, with `settings`.

    The texts after prompt i have seeds from the settings' on, as many as there are samples, times `places[i]`: a
    prompt that is given twice is answered in two ways.
    """

    served: ServedVoice
    speaker: ComposedVoice
    prompts: tuple[Prompt, ...]
    settings: GenerationSettings
    places: tuple[int, ...] = ()

    def seed(self, index: int) -> int:
        """The seed of the first text after prompt `index`."""
        place = self.places[index] if self.places else index
        return self.settings.seed + place * self.settings.samples


def prepare(asked: Sampling | ScoreRequest, served: ServedVoice, settings: ServerSettings) -> Prepared:
    """Read a request. Raises ApiError and LmalgebraError."""
    prompts = _prompts(asked, settings)
    prepared = prepare_speaker(asked, served, settings)
    for prompt in prompts:
        _refuse_unread(prepared.speaker, prompt)
    return replace(prepared, prompts=prompts)


def prepare_speaker(asked: Drawing | ScoreRequest, served: ServedVoice, settings: ServerSettings) -> Prepared:
    """Who speaks, and how; the prompts are still missing. What is slow happens here, so not on the event loop: formulas
    and schemas are compiled. Raises ApiError and LmalgebraError.
    """
    generation = served.described.settings
    if isinstance(asked, Drawing):
        generation = _generation(asked, served, settings)
    shape = asked.response_format if isinstance(asked, Sampling) else None
    formula, brought = asked_formula(asked, served, settings, shape)
    speaker = served.speaking(formula)
    _refuse_controls(speaker, brought)
    return Prepared(served, speaker, (), generation)


def prepare_measure(
    asked: MeasureRequest, served: ServedVoice, speaker: ComposedVoice | None, settings: ServerSettings
) -> Prepared:
    """Read a request for measures: perplexity is told by `speaker`, or else by the first term of `served`.

    Raises ApiError and LmalgebraError.
    """
    prompts = _prompts(asked, settings)
    if speaker is None:
        speaker = served.speaking(served.composed.plan.speakers[0])
    speaker.loaded  # noqa: B018 - here, not on the event loop
    return Prepared(served, speaker, prompts, served.described.settings)


def _prompts(asked: Sampling | Continued, settings: ServerSettings) -> tuple[Prompt, ...]:
    if isinstance(asked, ChatRequest):
        found: tuple[Prompt, ...] = (messages_of(asked.messages),)
    elif isinstance(asked, CompletionRequest):
        found = (asked.prompt,) if isinstance(asked.prompt, str) else tuple(asked.prompt)
    else:
        assert isinstance(asked, Continued)
        if (asked.prompt is None) == (asked.messages is None):
            raise invalid("Give either prompt or messages.", "prompt")
        found = (messages_of(asked.messages) if asked.messages is not None else asked.prompt or "",)
    size = sum(len(message["content"]) for prompt in found for message in conversation(prompt))
    require_short(len(found), size, "messages" if isinstance(asked, ChatRequest) else "prompt", settings)
    return found


def require_short(count: int, size: int, param: str, settings: ServerSettings) -> None:
    """Raise ApiError for more prompts, or more characters of all together, than are read."""
    if count > settings.max_prompts:
        raise invalid(f"{count} texts are given; at most {settings.max_prompts} are read.", param)
    if size > settings.max_prompt_characters:
        raise invalid(
            f"{param} has {size:,} characters; at most {settings.max_prompt_characters:,} are read.",
            param,
            "context_length_exceeded",
        )


def messages_of(messages: Sequence[ChatMessage]) -> list[Message]:
    """A conversation as the engine has it; a developer's message is a system message, as OpenAI has it."""
    return [
        Message(
            role="system" if message.role == "developer" else message.role,
            content=message.content
            if isinstance(message.content, str)
            else "".join(part.text for part in message.content),
        )
        for message in messages
    ]


def _refuse_unread(speaker: ComposedVoice, prompt: Prompt) -> None:
    """A system message that no term would read has no effect, which nobody would notice."""
    if isinstance(prompt, str) or all(message["role"] != "system" for message in prompt):
        return
    described = [leaf.description for leaf in speaker.plan.speakers]
    if all(isinstance(each, ModelTerm) and each.system is not None and each.template is None for each in described):
        raise invalid(
            "All terms of this voice have system prompts of their own, so a system message would have no effect.",
            "messages",
            "system_message_unread",
        )


def _refuse_controls(speaker: ComposedVoice, brought: Sequence[Term]) -> None:
    """Control tokens count in an author's prompts; these are a user's."""
    for term in brought:
        description = term.description
        if term not in speaker.plan.leaves or not isinstance(description, ModelTerm):
            continue
        text = f"{description.system or ''}{description.prefix or ''}"
        if speaker.loaded.models[term].tokenizer.has_control(text):
            raise invalid(f"The prompt of `{term.name}` spells a control token.", f"terms.{term.name}", "invalid_term")


def _generation(asked: Drawing, served: ServedVoice, settings: ServerSettings) -> GenerationSettings:
    """The settings of a request over the voice's. Without a seed one is drawn, which the answer tells."""
    most = asked.max_tokens
    if isinstance(asked, ChatRequest) and asked.max_completion_tokens is not None:
        if most is not None and most != asked.max_completion_tokens:
            raise invalid("max_tokens and max_completion_tokens differ; give one of them.", "max_tokens")
        most = asked.max_completion_tokens
    changes: dict[str, Any] = {
        "max_new_tokens": most,
        "min_new_tokens": asked.min_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "min_p": asked.min_p,
        "repetition_penalty": asked.repetition_penalty,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "logit_bias": None if asked.logit_bias is None else _token_biases(asked.logit_bias),
        "stop": (asked.stop,) if isinstance(asked.stop, str) else asked.stop,
        "samples": _samples(asked),
        "seed": secrets.randbelow(1 << 53) if asked.seed is None else asked.seed % (1 << 64),
        "top_logprobs": _top_logprobs(asked),
    }
    if isinstance(asked, Sampling):
        _require_tellable(asked, settings)
    found = served.described.settings.replace(**{key: value for key, value in changes.items() if value is not None})
    if found.samples > settings.max_samples:
        name = "n" if isinstance(asked, Sampling) else "tries"
        raise invalid(f"{name}={found.samples} is more than the {settings.max_samples} that are allowed.", name)
    if most is not None and most > settings.max_tokens:
        raise invalid(f"max_tokens={most:,} is more than the {settings.max_tokens:,} that are allowed.", "max_tokens")
    return found


def _samples(asked: Drawing) -> int:
    several = asked.tries if isinstance(asked, RewriteRequest) else asked.n if isinstance(asked, Sampling) else None
    return several or 1


def _require_tellable(asked: Sampling, settings: ServerSettings) -> None:
    """Raise ApiError for what the answer cannot tell, or not in the shape that is asked for."""
    if asked.explain and "explain" not in settings.allow:
        raise not_allowed("Explanations are the operator's choice here.", "explain")
    if asked.stream_options is not None and not asked.stream:
        raise invalid("stream_options is for streams only.", "stream_options")
    if isinstance(asked, CompletionRequest) and asked.best_of not in (None, asked.n or 1):
        raise invalid("best_of cannot be honoured but as what n is: no text is thrown away.", "best_of")


def _top_logprobs(asked: Drawing) -> int:
    if isinstance(asked, ChatRequest):
        if asked.top_logprobs is not None and not asked.logprobs:
            raise invalid("top_logprobs needs logprobs to be true.", "top_logprobs")
        return asked.top_logprobs or 0
    return asked.logprobs or 0 if isinstance(asked, CompletionRequest) else 0


def _token_biases(given: dict[str, float]) -> list[tuple[int, float]]:
    for token in given:
        if not (token.isascii() and token.isdecimal() and len(token) < 10):
            raise invalid(f"'{token}' is no token's id.", "logit_bias")
    return [(int(token), nats) for token, nats in given.items()]


def require_affordable(prepared: Prepared, prompt_tokens: int, texts: int, settings: ServerSettings) -> None:
    """Raise ApiError where the request may cost too much. `prompt_tokens` are those of all terms and prompts together,
    and `texts` the most tokens that are said or scored after them, for one term.

    A classifier counts like a language model.
    """
    terms = len(prepared.speaker.plan.speakers) + sum(
        isinstance(bias.description, Bias) and bias.description.candidates > 0 for bias in prepared.speaker.plan.biases
    )
    cost = prompt_tokens + texts * terms
    if cost > settings.max_cost:
        raise invalid(
            f"This request may compute {cost:,} tokens, over all prompts, texts and terms; at most "
            f"{settings.max_cost:,} are allowed. Ask for fewer or shorter texts, or fewer terms.",
            code="request_too_expensive",
        )
