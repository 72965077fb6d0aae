"""POST /v1/measure: what judges say of given texts, and how predictable a voice finds them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from lmalgebra.decoding.context import conversation
from lmalgebra.errors import LmalgebraError
from lmalgebra.judges import AskedJudge, Judge, judges_of
from lmalgebra.serving.apart import Judging
from lmalgebra.serving.engine import Engine
from lmalgebra.serving.errors import unavailable
from lmalgebra.serving.prepare import Prepared
from lmalgebra.serving.score import scored

log = logging.getLogger("lmalgebra.serving")


class Judges:
    """The operator's judges. Raises LmalgebraError for what is none, or lacks its package."""

    def __init__(self, written: Sequence[str], judging: Judging) -> None:
        judges = judges_of(written)
        self._judges = dict(zip(_names(judges), judges, strict=True))
        self._judging = judging

    @property
    def names(self) -> list[str]:
        """What clients call them."""
        return list(self._judges)

    def load(self) -> None:
        """Load them all, by letting each judge a word. Raises LmalgebraError."""
        for judge in self._judges.values():
            _scores(judge, "", ["hello"])

    async def judge(self, prompt: str, texts: Sequence[str]) -> list[dict[str, float | None]]:
        """Each text's scores, by the names of the judges; None where one has none to give. Raises ApiError."""
        found: list[dict[str, float | None]] = [{} for _ in texts]
        for name, judge in self._judges.items():
            try:
                scores = await self._judging(partial(_scores, judge, prompt, texts))
            except LmalgebraError as error:
                log.error("judge failed", extra={"judge": name}, exc_info=error)
                raise unavailable(f"The judge '{name}' cannot judge just now.") from None
            for scored_by, score in zip(found, scores, strict=True):
                scored_by[name] = score if isinstance(score, float) else None
        return found


async def measured(engine: Engine, judges: Judges, prepared: Prepared, texts: Sequence[str]) -> dict[str, Any]:
    """The answer. Raises ApiError for what costs too much or cannot be judged, PromptError for what is too long."""
    content = await scored(engine, prepared, texts)
    prompt = conversation(prepared.prompts[0])[-1]["content"]
    data = [
        {
            "index": each["index"],
            "object": "measure.text",
            "judged": judged,
            "perplexity": _perplexity(each["logprob"], len(each["token_ids"])),
            "tokens": len(each["token_ids"]),
        }
        for each, judged in zip(content["data"], await judges.judge(prompt, texts), strict=True)
    ]
    ours = {"perplexity_by": str(prepared.speaker.formula)}
    return content | {"object": "measure", "data": data, "lmalgebra": ours}


def _names(judges: Sequence[Judge]) -> list[str]:
    """A name for each that tells clients no address and no folder, and is no other's."""
    found: list[str] = []
    for judge in judges:
        name = (judge.served or "model") if isinstance(judge, AskedJudge) else judge.name
        name = name.rstrip("/").rpartition("/")[2]
        found.append(f"{name} {len(found) + 1}" if name in found else name)
    return found


def _scores(judge: Judge, prompt: str, texts: Sequence[str]) -> Any:
    return judge.scores([(prompt, text) for text in texts] if judge.reads_prompt else list(texts))


def _perplexity(logprob: float | None, tokens: int) -> float | None:
    """e to the mean surprise of a token, in nats; None for a text that cannot be said, or not in numbers."""
    if logprob is None:
        return None
    try:
        return math.exp(-logprob / tokens)
    except OverflowError:
        return None
