"""POST /v1/score: how likely given texts are under a formula, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lmalgebra.decoding import Score
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.score import text_tokens
from lmalgebra.serving.engine import Engine, part_sizes, prompt_tokens
from lmalgebra.serving.prepare import Prepared, require_affordable, require_short


async def scored(engine: Engine, prepared: Prepared, continuations: Sequence[str]) -> dict[str, Any]:
    """The answer. Texts are read in parts, between which others speak.

    Raises ApiError for what costs too much, PromptError for what is too long.
    """
    require_short(len(continuations), sum(map(len, continuations)), "continuation", engine.settings)
    speaker, (prompt,) = prepared.speaker, prepared.prompts

    def count() -> Parts[tuple[list[int], int]]:
        (read,) = yield from prompt_tokens(prepared)
        return read, sum(len(text_tokens(speaker.loaded, each)) for each in continuations)

    read, said = await engine.perform_in_parts(count)
    require_affordable(prepared, sum(read) * len(continuations), said, engine.settings)
    pairs, sizes = [(prompt, each) for each in continuations], part_sizes(speaker.loaded)
    scores = await engine.perform_in_parts(lambda: speaker.score_in_parts(pairs, **sizes))
    return {
        "object": "score",
        "model": prepared.served.name,
        "system_fingerprint": prepared.served.fingerprint,
        "data": [_content(index, score) for index, score in enumerate(scores)],
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
