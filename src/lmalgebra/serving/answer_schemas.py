"""What answers look like, as the published schema tells it: JSON schemas by name."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_SHARE_OR_NONE: Schema = {"type": ["number", "null"], "minimum": -1, "maximum": 1}
_NATS: Schema = {"type": "number", "maximum": 0}
_NATS_OR_NONE: Schema = {"type": ["number", "null"], "maximum": 0}
_FINISH = {"enum": ["stop", "length"]}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _table(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _object(kind: str = "", optional: Schema | None = None, /, **properties: Schema) -> Schema:
    """An object with all of `properties`, some of `optional`, and no others; `kind` is its field `object`."""
    needed = properties | ({"object": {"const": kind}} if kind else {})
    return {
        "type": "object",
        "properties": needed | (optional or {}),
        "required": list(needed),
        "additionalProperties": False,
    }


def _or_none(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_USAGE = _object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT)
_HEAD = {"model": _TEXT, "system_fingerprint": _TEXT}
_SPOKEN = _HEAD | {"id": _TEXT, "created": _COUNT, "usage": _USAGE}
_SEEDED = _object(formula=_TEXT, seed=_COUNT)

_TOKEN: Schema = {"token": _TEXT, "logprob": _NATS, "bytes": _or_none(_list(_COUNT))}
_CHAT_LOGPROBS = _object(
    content=_list(_object(**_TOKEN, top_logprobs=_list(_object(**_TOKEN)))), refusal={"type": "null"}
)
_COMPLETION_LOGPROBS = _object(
    tokens=_list(_TEXT), token_logprobs=_list(_NATS), top_logprobs=_list(_table(_NATS)), text_offset=_list(_COUNT)
)
_EXPLANATION: Schema = {"type": "object", "required": ["text", "formula", "reference", "terms", "method", "tokens"]}
_MESSAGE = _object(role={"const": "assistant"}, content=_TEXT, refusal={"type": "null"})


def _choices(logprobs: Schema, **own: Schema) -> Schema:
    optional = {"explanation": _EXPLANATION}
    return _list(_object("", optional, index=_COUNT, logprobs=_or_none(logprobs), finish_reason=_FINISH, **own))


_CONTENT: Schema = {"type": ["string", "array", "object", "number", "boolean", "null"]}
_OF_TERMS: Schema = {
    "model": _TEXT,
    "system": _TEXT,
    "prefix": _TEXT,
    "adapter": _FLAG,
    "label": _TEXT,
    "sign": _NUMBER,
    "content": _CONTENT,
}
_TERM = _object("", _OF_TERMS, name=_TEXT, kind=_TEXT)
_DEFAULTS = _object(max_tokens=_COUNT, temperature=_NUMBER, top_p=_NUMBER)
_MODEL = _object(
    "model",
    id=_TEXT,
    created=_COUNT,
    owned_by=_TEXT,
    lmalgebra=_object(formula=_TEXT, terms=_list(_TEXT), about=_list(_TERM), models=_list(_TEXT), generation=_DEFAULTS),
)
_PLACE_OR_NONE: Schema = {"type": ["integer", "null"], "minimum": 0}
_ERROR: Schema = {"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}, "code": _TEXT}

ANSWERS: dict[str, Schema] = {
    "ChatAnswer": _object(
        "chat.completion", **_SPOKEN, choices=_choices(_CHAT_LOGPROBS, message=_MESSAGE), lmalgebra=_SEEDED
    ),
    "CompletionAnswer": _object(
        "text_completion", **_SPOKEN, choices=_choices(_COMPLETION_LOGPROBS, text=_TEXT), lmalgebra=_SEEDED
    ),
    "ScoreAnswer": _object(
        "score",
        **_HEAD,
        usage=_USAGE,
        lmalgebra=_object(formula=_TEXT),
        data=_list(
            _object(
                "score.text",
                index=_COUNT,
                logprob=_NATS_OR_NONE,
                tokens=_list(_TEXT),
                token_ids=_list(_COUNT),
                token_logprobs=_list(_NATS_OR_NONE),
            )
        ),
    ),
    "RewriteAnswer": _object(
        "rewrite",
        **_HEAD,
        usage=_USAGE,
        lmalgebra=_SEEDED,
        data=_list(
            _object(
                "rewrite.text",
                index=_COUNT,
                text=_TEXT,
                kept={"type": ["string", "null"]},
                score_before=_SHARE_OR_NONE,
                score_after=_SHARE_OR_NONE,
                similarity=_SHARE_OR_NONE,
            )
        ),
    ),
    "Model": _MODEL,
    "Models": _object(
        "list",
        data=_list(_MODEL),
        lmalgebra=_object(allow=_list(_TEXT), judges=_list(_TEXT), max_tokens=_COUNT),
    ),
    "MeasureAnswer": _object(
        "measure",
        **_HEAD,
        usage=_USAGE,
        lmalgebra=_object(perplexity_by=_TEXT),
        data=_list(
            _object(
                "measure.text",
                index=_COUNT,
                judged=_table(_SHARE_OR_NONE),
                perplexity={"type": ["number", "null"], "minimum": 0},
                tokens=_COUNT,
            )
        ),
    ),
    "FormulaAnswer": _object(
        "formula",
        model=_TEXT,
        formula={"type": ["string", "null"]},
        reference={"type": ["string", "null"]},
        terms=_list(_TERM),
        error=_or_none(_object(**_ERROR, start=_PLACE_OR_NONE, end=_PLACE_OR_NONE)),
        numbers=_list(_object(start=_COUNT, end=_COUNT, value=_NUMBER, argument=_TEXT, of=_TEXT)),
    ),
    "Functions": _object("list", data=_list(_object(id=_TEXT, usage=_TEXT))),
    "Recipes": _object(
        "list",
        data=_list(
            _object(id=_TEXT, title=_TEXT, paper=_TEXT, formula=_TEXT, parts=_list(_TEXT), prompts=_table(_TEXT))
        ),
    ),
    "Status": _object(status=_TEXT),
    "Error": _object(error=_object(**_ERROR)),
}
