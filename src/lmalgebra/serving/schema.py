"""Requests as OpenAI's API has them, with what is ours added. A field that is not here is refused.

What OpenAI has and a formula cannot honour is in `REFUSED`, with the reason that a client is told and the values that
ask for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmalgebra.serving.errors import ApiError, invalid

MOST_LOGPROBS = 20
MOST_MESSAGES = 2048
_NO_TOOLS = "a voice calls no tools"

REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tools": (_NO_TOOLS, ([],)),
    "tool_choice": (_NO_TOOLS, ("none",)),
    "parallel_tool_calls": (_NO_TOOLS, ()),
    "functions": (_NO_TOOLS, ([],)),
    "function_call": (_NO_TOOLS, ("none",)),
    "modalities": ("a voice writes text", (["text"],)),
    "audio": ("a voice writes text", ()),
    "prediction": ("drafting is the operator's choice (speculate)", ()),
    "reasoning_effort": ("a formula has no effort to choose", ()),
    "verbosity": ("say it in a prompt or in a formula", ()),
    "web_search_options": ("nothing is searched", ()),
    "store": ("nothing is stored", (False,)),
    "metadata": ("nothing is stored", ({},)),
    "service_tier": ("there is one tier", ("auto", "default")),
    "prompt_cache_key": ("what prompts have in common is found without it", ()),
    "prompt_cache_retention": ("what prompts have in common is found without it", ()),
    "moderation": ("nothing is moderated; subtract a classifier in the formula", ()),
    "suffix": ("a formula speaks from left to right", ("",)),
    "echo": ("the prompt is not scored here; use /v1/score", (False,)),
}

_Text = Annotated[str, Field(min_length=1)]
Parsed = TypeVar("Parsed", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class TermRequest(_Strict):
    """A term of a request: a weight for a term of the voice, or a prompt over one of the voice's models."""

    model: str | None = Field(None, description="The name of a model of the voice; by default its first term's.")
    system: str | None = Field(None, description="The system prompt under which it reads the conversation.")
    prefix: str | None = Field(None, description="Plain text before the prompt, without a chat template.")
    weight: float | None = Field(
        None, ge=-100, le=100, description="Without a formula: adds weight * (term - reference) to the voice's."
    )


class JsonSchemaFormat(_Strict):
    name: str = Field("", max_length=64)
    description: str | None = None
    strict: bool | None = Field(None, description="Texts fit the schema in any case.")
    schema_: dict[str, Any] | bool = Field(alias="schema")


class ResponseFormat(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class Spoken(_Strict):
    """What requests have in common that name a voice and may change its formula."""

    model: _Text = Field(description="The name of a voice.")
    formula: str | None = Field(None, description="A formula over the voice's terms, in place of its own.")
    terms: dict[str, TermRequest] | None = Field(None, description="Terms and weights of this request.")
    guidance_scale: float | None = Field(
        None, ge=0, le=100, description="Classifier-free guidance: negative + scale * (formula - negative)."
    )
    negative_prompt: str | None = Field(None, description="The system prompt to go away from; needs guidance_scale.")


class Drawing(Spoken):
    """How texts are drawn. Defaults are the voice's."""

    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: _Text | Annotated[list[_Text], Field(max_length=4)] | None = None
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(None, max_length=1024)
    user: str | None = Field(None, max_length=512, description="Goes into the log.")
    safety_identifier: str | None = Field(None, max_length=512, description="Goes into the log.")
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    min_tokens: int | None = Field(None, ge=0)


class Sampling(Drawing):
    """What is told of the texts, and in which shape."""

    n: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    explain: bool | None = Field(None, description="Tell what moved each token; see docs/explain.md.")


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)


class CompletionRequest(Sampling):
    """POST /v1/completions."""

    prompt: _Text | Annotated[list[_Text], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    best_of: int | None = Field(None, ge=1, description="Only what n is.")


class Continued(_Strict):
    """A prompt or a conversation, and texts that go on after it."""

    prompt: _Text | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=MOST_MESSAGES)
    continuation: _Text | Annotated[list[_Text], Field(min_length=1)]

    @property
    def continuations(self) -> list[str]:
        """The texts, also where there is but one."""
        return [self.continuation] if isinstance(self.continuation, str) else self.continuation


class ScoreRequest(Spoken, Continued):
    """POST /v1/score: how likely texts are under the formula."""


class MeasureRequest(Continued):
    """POST /v1/measure: what judges say of texts, and their perplexity."""

    model: _Text = Field(description="The name of a voice.")


class FormulaRequest(Spoken):
    """POST /v1/formula: whether a formula can be used, and what it is made of; nothing is computed."""


class AnsweredPrompt(_Strict):
    """What a model has said, and what it was asked."""

    text: str
    prompt: str | Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)] | None = None


class RewriteRequest(Drawing):
    """POST /v1/rewrite: what any model has said, said again by a voice."""

    input: str | Annotated[list[str | AnsweredPrompt], Field(min_length=1)]
    tries: int | None = Field(None, ge=1, description="Rewrites of each text, of which the best is taken.")
    above: float | None = Field(None, ge=0, le=1, description="Rewrite only what the judge scores at least so.")
    better: bool | None = Field(None, description="Keep a text whose rewrite the judge scores no lower.")
    similarity: float | None = Field(None, ge=-1, le=1, description="Keep a text whose rewrite is less similar.")


def parse(kind: type[Parsed], content: object) -> Parsed:
    """A request of `kind`. Raises ApiError, naming the first field that is wrong."""
    if not isinstance(content, dict):
        raise invalid("The body is not a JSON object.", code="invalid_body")
    known = {key: value for key, value in content.items() if not _is_refused(key, value)}
    if isinstance(known.get("messages"), list):
        known["messages"] = [_without_nothing(message) for message in known["messages"]]
    try:
        return kind.model_validate(known)
    except ValidationError as error:
        raise _as_api_error(error) from None


def _is_refused(key: str, value: object) -> bool:
    """Whether the field is to be left out, since it asks for nothing. Raises ApiError where it asks for something."""
    if key not in REFUSED:
        return False
    reason, harmless = REFUSED[key]
    if value is not None and not any(value == each and type(value) is type(each) for each in harmless):
        raise invalid(f"{key} cannot be honoured: {reason}.", key, "unsupported_parameter")
    return True


_OF_ANSWERS = ("refusal", "audio", "function_call", "tool_calls", "annotations", "name")
"""Fields of a message that clients send back as they got them; empty, they say nothing."""


def _without_nothing(message: object) -> object:
    if not isinstance(message, Mapping):
        return message
    return {key: value for key, value in message.items() if key not in _OF_ANSWERS or value not in (None, [], {})}


_OF_UNIONS = ("function-", "constrained-", "list[", "dict[", "str", "bool", "AnsweredPrompt")
"""How pydantic calls the kinds that a field may have, where a field may have several."""


def _as_api_error(error: ValidationError) -> ApiError:
    """The first field that is wrong; where it may be of several kinds, the one that came furthest says why."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    worst = max((each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]), key=lambda each: len(each["loc"]))
    first, *rest = worst["loc"] or ("body",)
    param = ".".join([str(first), *(str(part) for part in rest if not str(part).startswith(_OF_UNIONS))])
    if worst["type"] == "extra_forbidden":
        return invalid(f"Unrecognized request argument supplied: {param}.", param, "unknown_parameter")
    if worst["type"] == "missing":
        return invalid(f"The field {param} is missing.", param, "missing_required_parameter")
    return invalid(f"{param}: {worst['msg']}.", param)
