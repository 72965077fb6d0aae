"""The decoding loop: many prompts, several samples of each, every term of the formula, one step at a time.

A step is, in this order: 1. admit: read new prompts (each once, for every term) and fork their rows for the samples;
2. evaluate the formula for all samples; 3. penalise, truncate and draw; 4. tell each sample its token, and finish
those that are done; 5. extend all rows of the others by their token, one forward pass for each session.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from lmalgebra.algebra import GenerationSettings, Term
from lmalgebra.decoding.context import Conversation, context_tokens
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.text import GrowingText
from lmalgebra.distributions import Truncation, draw, forbid, penalise_repeats
from lmalgebra.errors import DecodingError, LmalgebraError
from lmalgebra.models.base import LanguageModel, Row, Session

MAX_SAMPLES = 32
"""Samples in progress at once; more wait."""


@dataclass(frozen=True)
class Request:
    """A conversation, and how many samples of which settings to say after it. `index` is the caller's own."""

    index: int
    messages: Conversation
    settings: GenerationSettings


@dataclass(frozen=True)
class Sample:
    """One finished text.

    `tokens` are all that were drawn, an end token included; `logprobs` (nats) are theirs under the formula, before
    penalty, temperature and truncation; `finish_reason` is "end" (the model ended it), "stop" (a stop string) or
    "length"; `seed` gives the same text again, alone or among others.
    """

    prompt: Conversation
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    seed: int
    index: int = 0
    number: int = 0


@dataclass(frozen=True)
class Piece:
    """Text that sample `number` of request `index` has just added."""

    index: int
    number: int
    text: str


@dataclass(frozen=True)
class Refusal:
    """Request `index` cannot be answered: its prompt is too long, or cannot be told to a term. The others go on."""

    index: int
    error: LmalgebraError


@dataclass(eq=False)
class _Prompt:
    """A prompt that was read: its rows, and the scores of every term for the first token, `[terms, vocabulary]`."""

    request: Request
    rows: list[Row]
    scores: Tensor
    started: int = 0


@dataclass(eq=False)
class _Growing:
    """A sample in progress."""

    request: Request
    number: int
    seed: int
    rows: list[Row]
    text: GrowingText
    draws: random.Random
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def settings(self) -> GenerationSettings:
        return self.request.settings

    def finished(self, reason: str) -> Sample:
        return Sample(
            self.request.messages,
            self.text.text,
            tuple(self.tokens),
            tuple(self.logprobs),
            reason,
            self.seed,
            self.request.index,
            self.number,
        )


class Decoder:
    """Runs requests under one plan. `models` holds the language model of each of the plan's leaves."""

    def __init__(self, plan: Plan, models: Mapping[Term, LanguageModel], max_samples: int = MAX_SAMPLES) -> None:
        self._plan = plan
        self._models = [models[leaf] for leaf in plan.leaves]
        self.sessions: list[Session] = [model.session for model in self._models]
        self.tokenizer = self._models[0].tokenizer
        self._device = self.sessions[0].device
        self._vocabulary = min(session.vocabulary_size for session in self.sessions)
        self._context = min(session.context_length for session in self.sessions)
        self._ends = frozenset[int]().union(*(model.tokenizer.end_tokens for model in self._models))
        self._max_samples = max_samples

    def run(self, requests: Iterable[Request]) -> Iterator[Piece | Sample | Refusal]:
        """Pieces of text as they come, and each sample when it is done. Rows are closed however this ends."""
        waiting = iter(requests)
        refused: list[Refusal] = []
        prompts: deque[_Prompt] = deque()
        growing: list[_Growing] = []
        scores: Tensor | None = None
        try:
            while True:
                first = self._admit(waiting, prompts, growing, refused)
                yield from refused
                refused.clear()
                if not growing:
                    return
                scores = first if scores is None else torch.cat([scores, first], dim=1)
                going: list[_Growing] = []
                for sample, reason, piece in self._choose(growing, scores):
                    if piece:
                        yield Piece(sample.request.index, sample.number, piece)
                    if not reason:
                        going.append(sample)
                        continue
                    growing.remove(sample)
                    self._close(sample.rows)
                    yield sample.finished(reason)
                scores = self._extend(going) if going else None
        finally:
            for held in [*prompts, *growing]:
                self._close(held.rows)

    # 1. admit

    def _admit(
        self,
        waiting: Iterator[Request],
        prompts: deque[_Prompt],
        growing: list[_Growing],
        refused: list[Refusal],
    ) -> Tensor:
        """Add samples to `growing` while there is room; the scores of their first token, as in `_scores`."""
        room = self._max_samples - len(growing)
        wanted = room - sum(prompt.request.settings.samples - prompt.started for prompt in prompts)
        fresh: list[tuple[Request, list[list[int]]]] = []
        while wanted > 0 and (request := next(waiting, None)) is not None:
            try:
                fresh.append((request, self._contexts(request.messages)))
                wanted -= request.settings.samples
            except LmalgebraError as error:
                refused.append(Refusal(request.index, error))
        prompts.extend(self._read(fresh))
        scores: list[Tensor] = []
        while prompts and len(scores) < room:
            growing.append(self._start(prompts[0]))
            scores.append(prompts[0].scores)
            if prompts[0].started == prompts[0].request.settings.samples:
                prompts.popleft()
        return torch.stack(scores, dim=1) if scores else torch.empty(len(self.sessions), 0, self._vocabulary)

    def _contexts(self, messages: Conversation) -> list[list[int]]:
        """What each term reads, in tokens."""
        return [
            context_tokens(leaf, model, messages) for leaf, model in zip(self._plan.leaves, self._models, strict=True)
        ]

    def _read(self, requests: Sequence[tuple[Request, list[list[int]]]]) -> list[_Prompt]:
        """Read requests with their contexts, all of them in one pass for each session."""
        if not requests:
            return []
        contexts = list(zip(*(context for _, context in requests), strict=True))
        opened = [[session.open() for _ in requests] for session in self.sessions]
        try:
            scores = self._scores(opened, contexts)
        except BaseException:
            for session, rows in zip(self.sessions, opened, strict=True):
                for row in rows:
                    session.close(row)
            raise
        return [
            _Prompt(request, [rows[i] for rows in opened], scores[:, i].clone())
            for i, (request, _) in enumerate(requests)
        ]

    def _start(self, prompt: _Prompt) -> _Growing:
        """The prompt's next sample; the last one takes the prompt's own rows."""
        number, settings = prompt.started, prompt.request.settings
        prompt.started += 1
        rows = prompt.rows
        if prompt.started < settings.samples:
            rows = self._fork(rows)
        seed = settings.seed + number
        # A sample's randomness is its own: the seed and what was said decide it, not the samples around it.
        draws = random.Random(f"{seed}:{prompt.request.messages}")
        return _Growing(prompt.request, number, seed, rows, GrowingText(self.tokenizer.stream(), settings.stop), draws)

    def _fork(self, rows: Sequence[Row]) -> list[Row]:
        forked: list[Row] = []
        try:
            for session, row in zip(self.sessions, rows, strict=True):
                forked.append(session.fork(row))
        except BaseException:
            self._close(forked)
            raise
        return forked

    # 2. to 4. choose

    @torch.inference_mode()
    def _choose(self, growing: Sequence[_Growing], scores: Tensor) -> list[tuple[_Growing, str, str]]:
        """Give each sample its next token; returns each with why it is finished, if it is, and its new text."""
        by_leaf = dict(zip(self._plan.leaves, scores, strict=True))
        logprobs = self._plan.logprobs(by_leaf, [len(sample.tokens) for sample in growing])
        tokens = self._draw(growing, logprobs)
        chosen = logprobs.gather(1, tokens[:, None]).squeeze(1).tolist()
        return [
            (sample, *self._tell(sample, token, logprob))
            for sample, token, logprob in zip(list(growing), tokens.tolist(), chosen, strict=True)
        ]

    def _draw(self, growing: Sequence[_Growing], logprobs: Tensor) -> Tensor:
        """Tokens `[samples]`, each sample by its own settings."""
        tokens = torch.empty(len(growing), dtype=torch.long, device=logprobs.device)
        order = sorted(range(len(growing)), key=lambda i: _draw_key(growing[i].settings))
        for _, group in groupby(order, key=lambda i: _draw_key(growing[i].settings)):
            rows = sorted(group)
            mine = [growing[i] for i in rows]
            part = logprobs if len(rows) == len(growing) else logprobs[rows]
            tokens[rows] = self._draw_alike(mine, part)
        return tokens

    def _draw_alike(self, samples: Sequence[_Growing], logprobs: Tensor) -> Tensor:
        settings = samples[0].settings
        weights = penalise_repeats(logprobs, [sample.tokens for sample in samples], settings.repetition_penalty)
        early = [len(sample.tokens) < sample.settings.min_new_tokens for sample in samples]
        weights = forbid(weights, early, self._ends)
        if any(early) and bool(weights.amax(-1).isneginf().any()):
            raise DecodingError(
                f"No token is possible but the end, before min_new_tokens={samples[0].settings.min_new_tokens}.",
                "Lower min_new_tokens, or loosen what the formula forbids.",
            )
        if settings.temperature == 0:
            return weights.argmax(-1)
        truncation = Truncation(settings.temperature, settings.top_k, settings.top_p, settings.min_p)
        return draw(truncation(weights), [sample.draws.random() for sample in samples])

    def _tell(self, sample: _Growing, token: int, logprob: float) -> tuple[str, str]:
        sample.tokens.append(token)
        sample.logprobs.append(logprob)
        if token in self._ends:
            return "end", sample.text.finish()
        piece = sample.text.push(token)
        if sample.text.stopped:
            return "stop", piece
        longest = max(session.length(row) for session, row in zip(self.sessions, sample.rows, strict=True))
        if len(sample.tokens) == sample.settings.max_new_tokens or longest == self._context:
            return "length", piece + sample.text.finish()
        return "", piece

    # 5. extend

    def _extend(self, going: Sequence[_Growing]) -> Tensor:
        rows = [[sample.rows[leaf] for sample in going] for leaf in range(len(self.sessions))]
        last = [[sample.tokens[-1]] for sample in going]
        return self._scores(rows, [last] * len(self.sessions))

    @torch.inference_mode()
    def _scores(
        self,
        rows: Sequence[Sequence[Row]],
        tokens: Sequence[Sequence[Sequence[int]]],
        logits: Literal["all", "last"] = "last",
    ) -> Tensor:
        """Extend `rows[term][sample]` by `tokens[term][sample]`, one pass for each session whatever the terms.

        Returns log-probabilities of what follows the last token, or each new one, `[terms, samples, vocabulary]`.
        """
        found: dict[tuple[int, Row], Tensor] = {}
        for session in dict.fromkeys(self.sessions):
            work = {
                row: new
                for leaf, own in enumerate(self.sessions)
                if own is session
                for row, new in zip(rows[leaf], tokens[leaf], strict=True)
            }
            for row, mine in session.extend(work, logits).items():
                found[id(session), row] = mine
        stacked = torch.cat(
            [
                found[id(session), row][:, : self._vocabulary].to(self._device)
                for session, own in zip(self.sessions, rows, strict=True)
                for row in own
            ]
        )
        return stacked.log_softmax(-1).view(len(self.sessions), -1, self._vocabulary)

    def _close(self, rows: Sequence[Row]) -> None:
        """Close rows of the first sessions, one of each."""
        for session, row in zip(self.sessions, rows, strict=False):
            session.close(row)

    def score(self, messages: Conversation, continuation: str, block: int = 64) -> tuple[list[int], Tensor]:
        """The tokens of `continuation` and the log-probability of each under the formula, `[tokens]`."""
        tokens = self.tokenizer.encode([continuation], start=False)
        request = Request(0, messages, GenerationSettings())
        (prompt,) = self._read([(request, self._contexts(messages))])
        try:
            found = [self._score_block(prompt.scores[:, None], tokens[:1], 0)]
            for start in range(1, len(tokens), block):
                part = tokens[start : start + block]
                read = tokens[start - 1 : start - 1 + len(part)]
                scores = self._scores([[row] for row in prompt.rows], [[read]] * len(prompt.rows), "all")
                found.append(self._score_block(scores, part, start))
        finally:
            self._close(prompt.rows)
        return tokens, torch.cat(found)

    @torch.inference_mode()
    def _score_block(self, scores: Tensor, tokens: Sequence[int], start: int) -> Tensor:
        by_leaf = dict(zip(self._plan.leaves, scores, strict=True))
        logprobs = self._plan.logprobs(by_leaf, list(range(start, start + len(tokens))))
        return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)


def _draw_key(settings: GenerationSettings) -> tuple[float, ...]:
    return (
        settings.temperature,
        settings.top_k or 0,
        settings.top_p,
        settings.min_p,
        settings.repetition_penalty,
    )
