"""POST /v1/score: how likely given texts are under a formula, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lmalgebra.decoding import Score
from lmalgebra.decoding.score import text_tokens
from lmalgebra.serving.engine import Engine, prompt_tokens
from lmalgebra.serving.errors import invalid
from lmalgebra.serving.prepare import Prepared, require_affordable


async def scored(engine: Engine, prepared: Prepared, continuations: Sequence[str]) -> dict[str, Any]:
    """The answer. While texts are read, nothing else speaks, so long ones are read one by one.

    Raises ApiError for what costs too much, PromptError for what is too long.
    """
    size = sum(map(len, continuations))
    if size > engine.settings.max_prompt_characters:
        raise invalid(
            f"The continuations have {size:,} characters; at most {engine.settings.max_prompt_characters:,} are read.",
            "continuation",
            "context_length_exceeded",
        )
    speaker, (prompt,) = prepared.speaker, prepared.prompts

    def count() -> tuple[list[int], int]:
        return prompt_tokens(prepared)[0], sum(len(text_tokens(speaker.loaded, each)) for each in continuations)

    read, said = await engine.perform(count)
    require_affordable(prepared, sum(read) * len(continuations), said, engine.settings)
    found = []
    for continuation in continuations:

        def work(continuation: str = continuation) -> Score:
            return speaker.score(prompt, continuation)

        found.append(_content(len(found), await engine.perform(work)))
    return {
        "object": "score",
        "model": prepared.served.name,
        "system_fingerprint": prepared.served.fingerprint,
        "data": found,
        "usage": {"prompt_tokens": read[0] + said, "completion_tokens": 0, "total_tokens": read[0] + said},
        "lmalgebra": {"formula": str(speaker.formula)},
    }


def _content(index: int, score: Score) -> dict[str, Any]:
    """One text's score; `null` stands for the log-probability of what cannot be said."""
    return {
        "index": index,
        "object": "score.text",
        "logprob": _finite(score.total),
        "tokens": list(score.pieces),
        "token_ids": list(score.tokens),
        "token_logprobs": [_finite(each) for each in score.logprobs],
    }


def _finite(logprob: float) -> float | None:
    return logprob if math.isfinite(logprob) else None
