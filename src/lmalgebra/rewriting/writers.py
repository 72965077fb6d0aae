"""Who writes: any voice of ours, or a language model behind OpenAI's chat protocol. Both are asked alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding import ComposedVoice, Refusal, Request, Sample
from lmalgebra.decoding.context import Conversation
from lmalgebra.errors import ModelError
from lmalgebra.judges.asked import OF_THE_TEXT, content
from lmalgebra.models.connection import Connection, RefusedError
from lmalgebra.models.identity import identity_of


@dataclass(frozen=True)
class Asked:
    """`count` answers to a conversation; answer i is drawn by `seed` + i."""

    messages: Conversation
    count: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What was said, and by which seed; or in `trouble` why nothing was."""

    text: str
    seed: int
    trouble: str = ""


class Writer(ABC):
    """Answers conversations with some generation `settings`; of those each question has its own seed and count."""

    settings: GenerationSettings

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What decides its answers: its source, revision and settings. Raises LmalgebraError where there is none."""

    @abstractmethod
    def write(self, asked: Sequence[Asked]) -> list[list[Answer]]:
        """The answers to each question. Raises LmalgebraError where it cannot answer at all."""


class VoiceWriter(Writer):
    """A voice; what it is asked together is read and said together."""

    def __init__(self, voice: ComposedVoice, settings: GenerationSettings) -> None:
        self.voice, self.settings = voice, settings

    def about(self) -> dict[str, Any]:
        identity = identity_of(self.voice.voice, self.settings)
        return {"kind": "voice", **identity.description}

    def write(self, asked: Sequence[Asked]) -> list[list[Answer]]:
        requests = [
            Request(place, each.messages, replace(self.settings, seed=each.seed, samples=each.count))
            for place, each in enumerate(asked)
            if each.count
        ]
        said: list[dict[int, str]] = [{} for _ in asked]
        troubles = [""] * len(asked)
        for event in self.voice.run(requests):
            if isinstance(event, Sample):
                said[event.index][event.number] = event.text
            elif isinstance(event, Refusal):
                troubles[event.index] = event.error.message
        return [
            [
                Answer(texts.get(number, ""), each.seed + number, "" if number in texts else trouble)
                for number in range(each.count)
            ]
            for each, texts, trouble in zip(asked, said, troubles, strict=True)
        ]


class ChatWriter(Writer):
    """The model `served` at `address`; `key_env` names the environment variable with the server's key, if it has one.

    Seeds go with the questions; whether the same one gives the same text again is the server's affair.
    """

    def __init__(self, address: str, served: str, settings: GenerationSettings, key_env: str = "") -> None:
        self.address, self.served, self.settings = address.rstrip("/"), served, settings
        self._connection = Connection(self.address, key_env)

    def about(self) -> dict[str, Any]:
        return {"kind": "chat", "address": self.address, "model": self.served, "settings": self._sampling()}

    def write(self, asked: Sequence[Asked]) -> list[list[Answer]]:
        questions = [(each.messages, each.seed + number) for each in asked for number in range(each.count)]
        answers = iter(self._answers(questions))
        return [[next(answers) for _ in range(each.count)] for each in asked]

    def _answers(self, questions: Sequence[tuple[Conversation, int]]) -> list[Answer]:
        """The answer to each; where one's text is refused, halves are asked, so that the others are answered."""
        if not questions:
            return []
        try:
            found = self._connection.post("/chat/completions", [self._body(*each) for each in questions])
        except RefusedError as error:
            if error.status in (404, 405):  # of another protocol's servers, or of a model that is not there
                raise ModelError(error.message, "Check the address, which mostly ends in /v1, and served.") from None
            if error.status not in OF_THE_TEXT:
                raise
            if len(questions) == 1:
                return [Answer("", questions[0][1], error.message)]
            middle = len(questions) // 2
            return [*self._answers(questions[:middle]), *self._answers(questions[middle:])]
        return [Answer(content(each), seed) for each, (_, seed) in zip(found, questions, strict=True)]

    def _body(self, messages: Conversation, seed: int) -> dict[str, Any]:
        body = {"messages": list(messages), "seed": seed, **self._sampling()}
        return body | ({"model": self.served} if self.served else {})

    def _sampling(self) -> dict[str, Any]:
        sampling = {
            "max_tokens": self.settings.max_new_tokens,
            "temperature": self.settings.temperature,
            "top_p": self.settings.top_p,
        }
        return sampling | ({"stop": list(self.settings.stop)} if self.settings.stop else {})
