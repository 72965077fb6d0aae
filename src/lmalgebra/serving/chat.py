"""Chat completions: conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmalgebra.decoding import Sample
from lmalgebra.serving.answers import FINISH, Answer
from lmalgebra.serving.schema import ChatRequest
from lmalgebra.serving.tokens import SpokenToken, chat_logprobs


class ChatAnswer(Answer):
    """POST /v1/chat/completions."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    @property
    def wants_logprobs(self) -> bool:
        assert isinstance(self.asked, ChatRequest)
        return bool(self.asked.logprobs)

    def choice(self, place: int, sample: Sample, tokens: Sequence[SpokenToken]) -> dict[str, Any]:
        return {
            "index": place,
            "message": {"role": "assistant", "content": sample.text, "refusal": None},
            "logprobs": self._logprobs(tokens),
            "finish_reason": FINISH[sample.finish_reason],
        }

    def opening(self, place: int) -> dict[str, Any]:
        return self._piece(place, {"role": "assistant", "content": "", "refusal": None}, None, None)

    def piece(
        self, place: int, text: str, tokens: Sequence[SpokenToken], said: bytes, reason: str | None
    ) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if tokens else None
        return self._piece(place, {"content": text} if text else {}, logprobs, reason)

    def _logprobs(self, tokens: Sequence[SpokenToken]) -> dict[str, Any] | None:
        return chat_logprobs(self.loaded, tokens) if self.wants_logprobs else None

    def _piece(
        self, place: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, reason: str | None
    ) -> dict[str, Any]:
        ended = None if reason is None else FINISH[reason]
        return {"index": place, "delta": delta, "logprobs": logprobs, "finish_reason": ended}
