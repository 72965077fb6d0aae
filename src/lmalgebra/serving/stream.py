"""Server-sent events: an answer in chunks, each as soon as it is said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lmalgebra.decoding import Piece, Sample
from lmalgebra.decoding.explanation import Explanation
from lmalgebra.serving.answers import Answer
from lmalgebra.serving.engine import Told
from lmalgebra.serving.errors import ApiError
from lmalgebra.serving.tokens import TokenTeller

Explain = Callable[[Answer], Awaitable[Mapping[int, Explanation]]]
"""What moved each token of an answer's texts, by their places among the choices; nothing where it was not asked for."""

DONE = "data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """Sends events. `ended` is awaited once, however the sending ends, and so when the client leaves, too."""

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], Awaitable[None]]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies pass events on at once
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._ended()


async def chunks(
    answer: Answer, told: AsyncIterator[Told], explain: Explain, as_error: Callable[[Exception], ApiError]
) -> AsyncIterator[str]:
    """The events of an answer, and after the texts what `explain` says of them. An error after the first of them is an
    event, too, and the last.
    """
    writer = _Writer(answer)
    try:
        async for each in told:
            for choice in writer.choices(each):
                yield writer.event([choice])
        if explanations := await explain(answer):
            yield writer.event([writer.explained(place, each) for place, each in explanations.items()])
    except Exception as error:
        yield _event(as_error(error).body)
        return
    if writer.counts:
        yield writer.event([], answer.usage())
    yield DONE


class _Writer:
    """Remembers of each text how far it is told."""

    def __init__(self, answer: Answer) -> None:
        options = answer.asked.stream_options
        self.answer, self.counts = answer, options is not None and options.include_usage
        self._tellers: dict[int, TokenTeller] = {}
        self._said: dict[int, bytes] = {}

    def choices(self, told: Told) -> list[dict[str, Any]]:
        """The choices that tell what is new."""
        event = told.event
        place = told.place * self.answer.run.prepared.settings.samples + event.number
        opening = self.answer.opening(place) if place not in self._tellers else None
        teller = self._tellers.setdefault(place, TokenTeller(self.answer.loaded))
        if isinstance(event, Piece):
            self._said[place] = self._said.get(place, b"") + event.text.encode()
            new = self.answer.piece(place, event.text, teller.push(event), self._said[place], None)
        else:
            assert isinstance(event, Sample)
            rest = teller.finish(event)
            new = self.answer.piece(place, "", rest, event.text.encode(), event.finish_reason)
        return [new] if opening is None else [opening, new]

    def explained(self, place: int, explanation: Explanation) -> dict[str, Any]:
        """The choice that explains a text that is told; it says nothing more of it."""
        return self.answer.piece(place, "", (), b"", None) | {"explanation": explanation.to_json()}

    def event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
        """A chunk of these choices."""
        content = self.answer.head(self.answer.chunk) | {"choices": choices}
        if self.counts:
            content["usage"] = usage
        if not choices or choices[0]["finish_reason"] is not None:
            content["lmalgebra"] = self.answer.details()
        return _event(content)


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False, allow_nan=False)}\n\n"
