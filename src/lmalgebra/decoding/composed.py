"""The public object: a voice that speaks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import finalize

from lmalgebra.algebra import Formula, GenerationSettings, Model, ModelTerm, Term, Voice, save_voice
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.explanation import Explanation, chosen_reference, explain_in_parts
from lmalgebra.decoding.loaded import LoadedFormula, OpenScorer
from lmalgebra.decoding.parts import Parts, finished
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.reading import BATCH_TOKENS, BLOCK, Given
from lmalgebra.decoding.request import Event, Piece, Refusal, Request, Sample
from lmalgebra.decoding.scheduler import MAX_SAMPLES, Scheduler
from lmalgebra.decoding.score import score_in_parts, text_tokens
from lmalgebra.decoding.speculation import SpeculationReport
from lmalgebra.decoding.stages import AUTO, DEFAULT_LOOKAHEAD, DRAFT, OFF, parse_chain
from lmalgebra.errors import DecodingError, LmalgebraError, VocabularyError, VoiceError
from lmalgebra.models.base import LanguageModel, Message, SeenMass, vocabulary_difference

Prompt = str | Sequence[Message]

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias")

SAMPLING = ("temperature", "top_k", "top_p", "min_p", *PENALTIES, "min_new_tokens", "seed")
"""The settings that decide how tokens are drawn from the formula's distribution."""


@dataclass(frozen=True)
class Generation:
    """What was said after one prompt: `samples`, and the first one's `text`."""

    prompt: Prompt
    samples: tuple[Sample, ...]

    @property
    def text(self) -> str:
        return self.samples[0].text


@dataclass(frozen=True)
class Score:
    """How likely a continuation is under a formula: its tokens and the log-probability (nats) of each."""

    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """The log-probability of the whole continuation, in nats."""
        return sum(self.logprobs)


class ComposedVoice:
    """A formula whose models can be loaded, and the settings it speaks with.

    `open_model` turns a model's description into weights; it is asked once for each model when the voice first
    speaks, and may share weights between voices. `open_scorer` does so for classifiers and constraints.
    `speculate` is "off", "auto" or stages as in `decoding.stages`, and `draft` a formula that drafts: texts keep their
    law, and come sooner where drafts are good. Raises FormulaError when a formula has no distribution, DecodingError
    for stages that it does not have.
    """

    def __init__(
        self,
        voice: Voice,
        open_model: Callable[[Model], LanguageModel],
        max_samples: int = MAX_SAMPLES,
        speculate: str | None = None,
        draft: Formula | None = None,
        open_scorer: OpenScorer | None = None,
    ) -> None:
        self.voice = voice
        self.plan = Plan(voice.formula)
        self.max_samples = max_samples
        self._draft = None if draft is None else Plan(draft)
        self._speculate = speculate or (OFF if draft is None else f"{DRAFT}:{DEFAULT_LOOKAHEAD}")
        if self._speculate.strip() != AUTO:
            parse_chain(self._speculate, self.plan, self._draft)
        self._open_model, self._open_scorer = open_model, open_scorer
        self._loaded: LoadedFormula | None = None
        self._loading = Lock()  # several threads may ask at once

    @property
    def formula(self) -> Formula:
        return self.voice.formula

    @property
    def settings(self) -> GenerationSettings:
        return self.voice.settings

    def __repr__(self) -> str:
        return f"ComposedVoice({str(self.formula)!r})"

    def with_formula(self, formula: Formula) -> "ComposedVoice":
        """A voice of the same models and settings that speaks by another formula, with nothing drafting for it.

        Raises FormulaError.
        """
        described = replace(self.voice, formula=formula)
        return ComposedVoice(described, self._open_model, self.max_samples, open_scorer=self._open_scorer)

    @property
    def is_loaded(self) -> bool:
        """Whether the models are there already."""
        return self._loaded is not None

    @property
    def loaded(self) -> LoadedFormula:
        """The formula with this voice's models, which are loaded now if they are not yet.

        Raises ModelError when one or an adapter cannot be loaded, VocabularyError when two do not share a vocabulary.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> LoadedFormula:
        plans = [self.plan] if self._draft is None else [self.plan, self._draft]
        speakers = dict.fromkeys(leaf for plan in plans for leaf in plan.speakers)
        models = {leaf: self._open_model(_model_of(leaf)) for leaf in speakers}
        _require_one_vocabulary(models)
        loaded = LoadedFormula(self.plan, models, self._speculate, self._draft, self._open_scorer)
        loaded.load_adapters()
        return loaded

    @property
    def speculates(self) -> bool:
        """Whether anything may draft for this voice."""
        return self._speculate.strip() != OFF

    @property
    def speculation(self) -> SpeculationReport:
        """What speculation did for this voice so far: stages, acceptance, and calls of each term per token."""
        return self.loaded.speculation.report()

    @property
    def seen(self) -> dict[str, SeenMass]:
        """For each remote of this voice, by its address: how much of the probability its server has told so far."""
        models = self.loaded.models.values()
        return {model.source: model.session.seen for model in models if model.session.seen is not None}

    def generate(self, prompt: Prompt, **settings: Any) -> Generation:
        """Say something after `prompt`, a text or a conversation.

        `settings` replace this voice's (see GenerationSettings). Raises PromptError for an empty or too long prompt,
        DecodingError for a setting out of range or a step at which no token is possible.
        """
        chosen = self.settings.replace(**settings)
        samples = [event for event in _answered(self._run([prompt], chosen)) if isinstance(event, Sample)]
        return Generation(prompt, tuple(sorted(samples, key=lambda sample: sample.number)))

    def generate_many(self, prompts: Iterable[Prompt], **settings: Any) -> Iterator[Sample]:
        """Samples of many prompts, each as soon as it is done; `index` is its prompt's place, `number` its own.

        Prompts are read as there is room, so they may come from a stream. Raises as `generate`; when a prompt is too
        long, only after all others are done.
        """
        chosen = self.settings.replace(**settings)
        return _samples(self._run(prompts, chosen))

    def stream(self, prompt: Prompt, **settings: Any) -> Iterator[str]:
        """Text as it comes, in pieces of whole characters. Raises as `generate`."""
        chosen = _for_one_sample(self.settings, settings)
        return (event.text for event in _answered(self._run([prompt], chosen)) if isinstance(event, Piece))

    def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely `continuation` is after `prompt` under the formula, token by token, without truncation.

        Raises PromptError when either is empty or both are longer than the context.
        """
        return self.score_many([(prompt, continuation)])[0]

    def score_many(self, pairs: Iterable[tuple[Prompt, str]]) -> list[Score]:
        """The score of each continuation after its prompt, read together: what prompts share is read once.

        A score does not depend on the others but for rounding. Raises as `score`.
        """
        return finished(self.score_in_parts(pairs))

    def score_in_parts(
        self, pairs: Iterable[tuple[Prompt, str]], block: int = BLOCK, chunk: int = BATCH_TOKENS
    ) -> Parts[list[Score]]:
        """As `score_many`, in parts: each reads at most `chunk` tokens of prompts, or scores `block` tokens."""
        loaded = self.loaded
        texts: list[Given] = []
        for prompt, continuation in pairs:
            messages = conversation(prompt)
            is_known = bool(texts) and texts[-1].messages == messages
            contexts = texts[-1].contexts if is_known else loaded.contexts(messages)
            texts.append(Given(messages, contexts, text_tokens(loaded, continuation)))
            yield
        found = yield from score_in_parts(loaded, texts, self.settings.max_new_tokens, block, chunk)
        return [self._score(text.tokens, each.logprobs) for text, each in zip(texts, found, strict=True)]

    def _score(self, tokens: Sequence[int], logprobs: Sequence[float]) -> Score:
        pieces = tuple(self.loaded.tokenizer.decode([token]) for token in tokens)
        return Score(tuple(tokens), pieces, tuple(logprobs))

    def explain(
        self, prompt: Prompt, continuation: str | None = None, *, reference: str | None = None, **settings: Any
    ) -> Explanation:
        """How far each term moved each token of `continuation`, or of what is said after `prompt` with `settings`.

        Changes are counted from `reference`, a language model of the formula; by default its first. See
        `decoding.explain` for what a term's part is. Raises DecodingError for a reference that is none, and as
        `generate` and `score`.
        """
        chosen_reference(self.plan, reference)  # before anything is said
        if continuation is None:
            chosen = _for_one_sample(self.settings, settings)
            tokens: Sequence[int] = self.generate(prompt, **settings | {"samples": 1}).samples[0].tokens
            sampling = {key: getattr(chosen, key) for key in SAMPLING}
            return finished(explain_in_parts(self.loaded, prompt, tokens, chosen.max_new_tokens, reference, sampling))
        if settings:
            raise DecodingError(
                f"A continuation that is given is not sampled, so {', '.join(settings)} would change nothing.",
                "Leave out the one or the other.",
            )
        tokens = text_tokens(self.loaded, continuation)
        return finished(explain_in_parts(self.loaded, prompt, tokens, self.settings.max_new_tokens, reference))

    def chat(self, **settings: Any) -> "Chat":
        """A conversation with memory; each term keeps its own system prompt."""
        return Chat(self, _for_one_sample(self.settings, settings))

    def save(self, path: str | Path) -> None:
        """Write the voice file. Raises VoiceError when it cannot be written."""
        save_voice(self.voice, Path(path))

    def run(self, requests: Iterable[Request]) -> Iterator[Event]:
        """Everything that comes of `requests`, which are taken as there is room. Rows are closed however this ends."""
        return Scheduler(self.max_samples).run(self.loaded, requests)

    def _run(self, prompts: Iterable[Prompt], settings: GenerationSettings) -> Iterator[Event]:
        return self.run(Request(index, conversation(prompt), settings) for index, prompt in enumerate(prompts))


def speak_together(voices: Sequence[ComposedVoice], prompt: Prompt) -> Iterator[Piece]:
    """What each of `voices` says after `prompt`, all at once; a piece's `index` is its voice's place.

    Voices over the same weights share every pass. Raises as `ComposedVoice.generate`.
    """
    scheduler = Scheduler()
    for index, voice in enumerate(voices):
        settings = _for_one_sample(voice.settings, {})
        scheduler.add(voice.loaded, Request(index, conversation(prompt), settings))
    try:
        while scheduler.busy:
            yield from (event for event in _answered(iter(scheduler.step())) if isinstance(event, Piece))
    finally:
        scheduler.close()


class Chat:
    """A growing conversation with a voice. What was said stays read, so that an answer begins at once."""

    def __init__(self, voice: ComposedVoice, settings: GenerationSettings) -> None:
        self._voice = voice
        self._settings = settings
        self._scheduler = Scheduler(max_samples=1, kept_rows=len(voice.plan.speakers))
        self.messages: tuple[Message, ...] = ()
        finalize(self, self._scheduler.close)

    def say(self, text: str) -> str:
        """Say something and get the answer; both are remembered."""
        return "".join(self.stream(text))

    def stream(self, text: str) -> Iterator[str]:
        """Like `say`, in pieces. An answer that is not read to its end is remembered as far as it was."""
        asked = (*self.messages, Message(role="user", content=text))
        settings = replace(self._settings, seed=self._settings.seed + len(self.messages))
        request, said = Request(0, conversation(asked), settings), ""
        try:
            for event in _answered(self._scheduler.run(self._voice.loaded, [request])):
                if isinstance(event, Piece):
                    said += event.text
                    yield event.text
        finally:
            if said:
                self.messages = (*asked, Message(role="assistant", content=said))

    def forget(self) -> None:
        """Start anew."""
        self._scheduler.close()
        self.messages = ()


def _answered(events: Iterator[Event]) -> Iterator[Piece | Sample]:
    """The events of a request that must be answered: a refusal is raised."""
    for event in events:
        if isinstance(event, Refusal):
            raise event.error
        yield event


def _samples(events: Iterator[Event]) -> Iterator[Sample]:
    """The samples; the first refusal is raised when there are no more."""
    refusals: list[Refusal] = []
    for event in events:
        if isinstance(event, Sample):
            yield event
        elif isinstance(event, Refusal):
            refusals.append(event)
    if refusals:
        raise left_out(refusals)


def left_out(refusals: Sequence[Refusal]) -> LmalgebraError:
    """One error for the requests of a run that were refused, to be raised when the others are done."""
    first = refusals[0]
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    message = f"Prompt {first.index + 1}{more} was left out: {first.error.message}"
    return type(first.error)(message, first.error.hint)


def _for_one_sample(settings: GenerationSettings, changes: dict[str, Any]) -> GenerationSettings:
    if changes.get("samples", 1) != 1:
        raise DecodingError(
            f"samples={changes['samples']} cannot be spoken at once.", "Use generate(...) for several samples."
        )
    return settings.replace(**changes | {"samples": 1})


def _model_of(leaf: Term) -> Model:
    if not isinstance(leaf.description, ModelTerm):
        raise VoiceError(
            f"The term `{leaf.name}` names no model.", "Describe it under [terms] or with model.term(...)."
        )
    return leaf.description.model


def _require_one_vocabulary(models: dict[Term, LanguageModel]) -> None:
    (first, known), *others = models.items()
    for leaf, model in others:
        difference = vocabulary_difference(known.tokenizer, model.tokenizer)
        if difference:
            raise VocabularyError(
                f"The terms `{first.name}` ('{known.source}') and `{leaf.name}` ('{model.source}') have different "
                f"vocabularies: {difference}.",
                "Use models of one family, whose token ids mean the same.",
            )
