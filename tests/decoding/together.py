"""Requests that run together in one scheduler: what each says, what it says alone, and what the sessions were given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor
from voices import TOYS, Watched, network

from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.decoding import ComposedVoice, Event, Refusal, Request, Sample, Scheduler
from lmalgebra.decoding.context import conversation
from lmalgebra.errors import CacheFullError, LmalgebraError
from lmalgebra.models.base import LanguageModel, Row, Session
from lmalgebra.models.table import TableModel, TableSession, TableTokenizer

Models = Mapping[str, LanguageModel]


class Said(NamedTuple):
    """What a test compares of a sample."""

    tokens: tuple[int, ...]
    text: str
    finish_reason: str


def said(sample: Sample) -> Said:
    return Said(sample.tokens, sample.text, sample.finish_reason)


class Recorded(Watched):
    """Also remembers how many tokens each call gave to each row, and how often an extension found no room."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.calls: list[dict[Row, int]] = []
        self.refused_extensions = 0

    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        self.calls.append({row: len(new) for row, new in tokens.items()})
        try:
            return super().extend(tokens, wanted)
        except CacheFullError:
            self.refused_extensions += 1
            raise


def recorded_toys(
    tables: Mapping[str, TableModel] = TOYS, context_length: int = 4096, max_cache_tokens: int | None = None
) -> dict[str, LanguageModel]:
    """A model for each table, whose cache may be bounded."""
    return {
        name: LanguageModel(
            name, Recorded(TableSession(table, context_length, max_cache_tokens)), TableTokenizer(table)
        )
        for name, table in tables.items()
    }


def network_models(**limits: int) -> dict[str, LanguageModel]:
    """One random Llama in float32 that two terms speak by."""
    weights = network(**limits)
    weights = replace(weights, session=Recorded(weights.session.inner))
    return {"base": weights, "formal": weights}


def speaker(formula: str, models: Models, speculate: str = "off", polite: str = "dear sir, ") -> ComposedVoice:
    """A voice over `models`; the term `formal` is addressed politely, so that rows are ragged."""
    prefixes = {name: polite if name == "formal" else "" for name in models}
    terms = {name: Model(source=name).term(name=name, prefix=prefixes[name]) for name in models}
    described = Voice(parse(formula, terms), GenerationSettings())
    return ComposedVoice(described, lambda model: models[model.source], speculate=speculate)


def alone(voice: ComposedVoice, prompt: str, **settings: Any) -> dict[int, Said]:
    """What a request says when nothing else runs, by sample."""
    return {sample.number: said(sample) for sample in voice.generate(prompt, **settings).samples}


class Together:
    """Steps a scheduler, and sorts what it tells by request.

    `first` and `last` say in which step, counted from 1, a request's first and last event came.
    """

    def __init__(self, **options: int) -> None:
        self.scheduler = Scheduler(**options)
        self.samples: dict[int, dict[int, Said]] = {}
        self.pieces: dict[tuple[int, int], str] = {}
        self.refused: dict[int, LmalgebraError] = {}
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.steps = 0

    def add(self, voice: ComposedVoice, prompt: str, **settings: Any) -> int:
        """The number of a new request."""
        index = len(self.samples)
        self.samples[index] = {}
        self.scheduler.add(voice.loaded, Request(index, conversation(prompt), voice.settings.replace(**settings)))
        return index

    def step(self) -> list[Event]:
        self.steps += 1
        events = self.scheduler.step()
        for event in events:
            self.first.setdefault(event.index, self.steps)
            self.last[event.index] = self.steps
            self._sort(event)
        return events

    def _sort(self, event: Event) -> None:
        assert event.index not in self.refused, "something came after a refusal"
        if isinstance(event, Refusal):
            self.refused[event.index] = event.error
        elif isinstance(event, Sample):
            assert event.number not in self.samples[event.index], "a sample came twice"
            assert self.pieces.get((event.index, event.number), "") == event.text
            self.samples[event.index][event.number] = said(event)
        else:
            key = event.index, event.number
            self.pieces[key] = self.pieces.get(key, "") + event.text

    def steps_of(self, count: int) -> None:
        for _ in range(count):
            self.step()

    @property
    def outcomes(self) -> dict[int, dict[int, Said] | str]:
        """What each request has said or, if it was refused, why."""
        return {index: str(self.refused.get(index, "")) or said for index, said in self.samples.items()}

    def finish(self, most: int = 5000) -> "Together":
        """Step until nothing is left to do; more than `most` steps count as a deadlock."""
        begun = self.steps
        while self.scheduler.busy:
            assert self.steps - begun < most, f"not done after {most} steps"
            self.step()
        return self


def watched_sessions(models: Models) -> list[Any]:
    return list(dict.fromkeys(model.session for model in models.values()))


def rows_open(models: Models) -> int:
    return sum(len(session.open_rows) for session in watched_sessions(models))


def outcome(voice: ComposedVoice, prompt: str, **settings: Any) -> dict[int, Said] | str:
    """What a request says alone, or why it is refused."""
    try:
        return alone(voice, prompt, **settings)
    except LmalgebraError as error:
        return str(error)
