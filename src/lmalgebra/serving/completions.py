"""Completions: texts, each told to the formula's terms as their prompts and templates have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmalgebra.decoding import Sample
from lmalgebra.serving.answers import FINISH, Answer
from lmalgebra.serving.schema import CompletionRequest
from lmalgebra.serving.tokens import SpokenToken, completion_logprobs


class CompletionAnswer(Answer):
    """POST /v1/completions."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    @property
    def wants_logprobs(self) -> bool:
        assert isinstance(self.asked, CompletionRequest)
        return self.asked.logprobs is not None

    def choice(self, place: int, sample: Sample, tokens: Sequence[SpokenToken]) -> dict[str, Any]:
        return self.piece(place, sample.text, tokens, sample.text.encode(), sample.finish_reason)

    def piece(
        self, place: int, text: str, tokens: Sequence[SpokenToken], said: bytes, reason: str | None
    ) -> dict[str, Any]:
        logprobs = completion_logprobs(self.loaded, tokens, said) if self.wants_logprobs else None
        ended = None if reason is None else FINISH[reason]
        return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": ended}
