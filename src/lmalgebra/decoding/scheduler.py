"""Many requests at once: they join and leave while others run, whatever their formulas, prompts and settings.

A step is, in this order: 1. admit: start samples of prompts that are read, and open rows for prompts that wait;
2. choose which samples act (see `acts_of_a_step`); 3. read on: a bounded number of prompt tokens, shared fairly;
4. one forward pass for each session, over the rows of all samples and prompts; 5. judge, draw and tell.

Admission: a prompt gets its rows with the room that its longest text may take, so that what runs never runs out of
cache. Where there is no room it waits, in the order of arrival; what does not fit into an empty cache is refused.
A free place goes to a request that has no sample running, in the order of arrival, before others get another one.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from lmalgebra.algebra import Term
from lmalgebra.alike import common_length
from lmalgebra.decoding.loaded import Home, LoadedFormula
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.prefixes import SHORTEST, KeptPrefixes, most_alike
from lmalgebra.decoding.prompt import Prompt
from lmalgebra.decoding.request import Event, Refusal, Request, Sample
from lmalgebra.decoding.sample import GrowingSample
from lmalgebra.decoding.step import Act, Verdict, evaluate, judge
from lmalgebra.decoding.turns import acts_of_a_step
from lmalgebra.errors import CacheFullError, LmalgebraError
from lmalgebra.models.base import Row, Session

MAX_SAMPLES = 32
"""Samples in progress at once; more wait."""

READ_TOKENS = 128
"""Prompt tokens that are read in a step while samples are speaking, so that a long prompt does not stall them."""

READ_TOKENS_ALONE = 256
"""Prompt tokens that are read in a step while nothing speaks: a request that comes meanwhile waits for no more."""

WORTH_WAITING = 64
"""A prompt waits for another that is being read when it can copy at least so many tokens from it then."""

LOOK_PAST = 8
"""Waiting prompts of which the first that need not wait so is opened."""


class Scheduler:
    """Runs requests, one step at a time. Not for use from several threads; see `service` for that.

    `kept_rows` is how many rows of finished texts are kept for later prompts that begin like them.
    """

    def __init__(self, max_samples: int = MAX_SAMPLES, read_tokens: int = READ_TOKENS, kept_rows: int = 0) -> None:
        self._max_samples, self._read_tokens = max_samples, read_tokens
        self._waiting: deque[Prompt] = deque()
        self._reading: list[Prompt] = []
        self._ready: deque[Prompt] = deque()
        self._running: list[GrowingSample] = []
        self._kept = KeptPrefixes(kept_rows)
        self._events: list[Event] = []
        self.others_have_rows = False
        """Whether other work holds rows of the same sessions, which it will give back."""

    def add(self, loaded: LoadedFormula, request: Request) -> None:
        """Let a request wait for its turn. One that cannot be read is refused with the next step."""
        try:
            self._waiting.append(Prompt(loaded, request))
        except LmalgebraError as error:
            self._events.append(Refusal(request.index, error))

    @property
    def busy(self) -> bool:
        """Whether anything is left to do or to tell."""
        return bool(self._events or self._waiting or self._reading or self._ready or self._running)

    @property
    def waiting(self) -> int:
        """Requests that have no rows yet."""
        return len(self._waiting)

    @property
    def hungry(self) -> bool:
        """Whether there would be room for samples of another request."""
        prompts = [*self._waiting, *self._reading, *self._ready]
        return len(self._running) + sum(prompt.unstarted for prompt in prompts) < self._max_samples

    def run(self, loaded: LoadedFormula, requests: Iterable[Request]) -> Iterator[Event]:
        """Everything that comes of `requests`, which are taken as there is room. Rows are closed however this ends."""
        coming = iter(requests)
        try:
            while True:
                while self.hungry and (request := next(coming, None)) is not None:
                    self.add(loaded, request)
                if not self.busy:
                    return
                yield from self.step()
        finally:
            self.cancel_all()

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Do one step; returns what there is to tell."""
        self._admit()
        acts = acts_of_a_step(self._running)
        chunks = self._chunks(self._budget(bool(acts)))
        if at_once := [act for act in acts if act.needs_no_pass]:  # a first token waits for nothing
            acts, chunks = at_once, []
        fresh, seconds = self._pass(acts, chunks)
        by_plan: dict[Plan, list[Act]] = {}
        for act in acts:
            if act.sample in self._running:  # its session may have failed
                by_plan.setdefault(act.plan, []).append(act)
        for group in by_plan.values():
            self._settle(group, fresh, {} if chunks else seconds)
        events, self._events = self._events, []
        return events

    def drop_kept(self) -> bool:
        """Give back a row that is kept of a finished text; whether there was one."""
        return self._kept.drop()

    def cancel(self, index: int) -> None:
        """Forget a request and give its rows back, at once and whatever its state."""
        held = [*self._waiting, *self._reading, *self._ready, *self._running]
        mine = [each for each in held if each.request.index == index]
        self._events = [event for event in self._events if event.index != index]
        self._forget(mine)

    def cancel_all(self) -> None:
        """Forget all requests."""
        self._events = []
        self._forget([*self._waiting, *self._reading, *self._ready, *self._running])

    def close(self) -> None:
        """Forget all requests and give back what is kept."""
        self.cancel_all()
        self._kept.close()

    def _forget(self, held: Sequence[Prompt | GrowingSample]) -> None:
        gone = set(map(id, held))
        self._waiting = deque(each for each in self._waiting if id(each) not in gone)
        self._reading = [each for each in self._reading if id(each) not in gone]
        self._ready = deque(each for each in self._ready if id(each) not in gone)
        self._running = [each for each in self._running if id(each) not in gone]
        for each in held:
            each.close()

    def _fail(self, index: int, error: LmalgebraError) -> None:
        self.cancel(index)
        self._events.append(Refusal(index, error))

    # 1. admit

    def _admit(self) -> None:
        self._ready.extend(prompt for prompt in self._reading if not prompt.left)
        self._reading = [prompt for prompt in self._reading if prompt.left]
        while len(self._running) + len(self._reading) < self._max_samples:
            prompt, running = self._next_ready()
            if prompt is not None and not running:
                done = self._start(prompt)  # if it has to wait for room, nothing else may take it
            else:
                done = self._open_next() or (prompt is not None and self._start(prompt))
            if not done:
                return

    def _next_ready(self) -> tuple[Prompt | None, int]:
        """The prompt of which the fewest samples are running, and how many; the first to come among equals."""
        running = Counter(sample.request.index for sample in self._running)
        prompt = min(self._ready, key=lambda prompt: running[prompt.request.index], default=None)
        return prompt, 0 if prompt is None else running[prompt.request.index]

    def _start(self, prompt: Prompt) -> bool:
        """Start a sample of `prompt` if there is room; the last one takes the prompt's own rows."""
        if prompt.unstarted == 1:
            self._running.append(prompt.sample_of_own_rows())
            self._ready.remove(prompt)
            return True
        try:
            rows = prompt.forked_rows()
        except CacheFullError:
            return self._start_without_room(prompt)
        self._running.append(prompt.sample(rows))
        return True

    def _start_without_room(self, prompt: Prompt) -> bool:
        """Make room, wait for it, or let the next sample have the prompt's rows, so that there is always progress."""
        if self._kept.drop():
            return True
        if self._running:
            return False
        others = [other for other in (*self._reading, *self._ready) if other is not prompt]
        gone = others[-1] if others else prompt
        if not others:
            self._running.append(prompt.sample_of_own_rows())
        gone.close()
        self._reading = [each for each in self._reading if each is not gone]
        self._ready = deque(each for each in self._ready if each is not gone)
        self._waiting.appendleft(gone)
        return True

    def _open_next(self) -> bool:
        """Open rows for the prompt that has waited longest, past those that can soon copy, unless there is no room."""
        first = islice(self._waiting, LOOK_PAST)
        prompt = next((prompt for prompt in first if not self._can_copy_soon(prompt)), None)
        if prompt is None:
            return False
        try:
            for leaf in prompt.contexts:
                self._open(prompt, leaf)
        except CacheFullError as error:
            prompt.close()
            if self._kept.drop():
                return True
            if self._running or self._reading or self._ready or self.others_have_rows:
                return False
            self._fail(prompt.request.index, error)
            return True
        except LmalgebraError as error:
            self._fail(prompt.request.index, error)
            return True
        self._waiting.remove(prompt)
        self._reading.append(prompt)
        return True

    def _open(self, prompt: Prompt, leaf: Term) -> None:
        """A row for `leaf`, with what a row that begins alike has read."""
        home, context = prompt.loaded.homes[leaf], prompt.contexts[leaf][:-1]
        live = [(row, tokens) for its, row, tokens in self._live_rows() if its == home]
        sources = [most_alike(live, context), self._kept.best(home, context)]
        source, shared = max(sources, key=lambda found: found[1])
        if source is None or shared < SHORTEST:
            prompt.rows[leaf], prompt.read[leaf] = prompt.loaded.open(leaf, prompt.room(leaf)), 0
        else:
            prompt.rows[leaf], prompt.read[leaf] = home.session.fork(source, shared, prompt.room(leaf)), shared

    def _live_rows(self) -> Iterator[tuple[Home, Row, Sequence[int]]]:
        """The rows of what is being read or spoken: where each is at home, and what it begins with."""
        for prompt in (*self._reading, *self._ready):
            for leaf, row in prompt.rows.items():
                yield prompt.loaded.homes[leaf], row, prompt.contexts[leaf][: prompt.read[leaf]]
        for sample in self._running:
            for leaf, row in sample.rows.items():
                yield sample.loaded.homes[leaf], row, sample.contexts[leaf]

    def _can_copy_soon(self, prompt: Prompt) -> bool:
        """Whether another prompt is just reading much of what this one begins with."""
        for leaf, context in prompt.contexts.items():
            home = prompt.loaded.homes[leaf]
            for other in self._reading:
                for its in other.rows:
                    if other.loaded.homes[its] == home:
                        shared = common_length(other.contexts[its], context)
                        if shared - other.read[its] >= WORTH_WAITING:
                            return True
        return False

    # 3. read on

    def _budget(self, something_speaks: bool) -> int:
        """How many prompt tokens to read: few while something speaks, or where a short prompt is so done at once."""
        shortest = min((prompt.left for prompt in self._reading), default=0)
        is_soon_done = shortest * len(self._reading) <= self._read_tokens
        return self._read_tokens if something_speaks or is_soon_done else max(self._read_tokens, READ_TOKENS_ALONE)

    def _chunks(self, budget: int) -> list[tuple[Prompt, Term, list[int]]]:
        """What is read of each prompt: equal shares of `budget` tokens; what a short one leaves goes to the longer."""
        found = []
        for index, prompt in enumerate(sorted(self._reading, key=lambda prompt: prompt.left)):
            share = -(-budget // (len(self._reading) - index))
            for leaf, chunk in prompt.chunks(share):
                found.append((prompt, leaf, chunk))
                budget -= len(chunk)
        return found

    # 4. one pass for each session

    def _pass(
        self, acts: Sequence[Act], chunks: Sequence[tuple[Prompt, Term, list[int]]]
    ) -> tuple[dict[tuple[GrowingSample, Term], Tensor], dict[Session, float]]:
        """Extend all rows; returns the logits of each sample's leaves, and the seconds of each session's pass."""
        work: dict[Session, dict[Row, list[int]]] = {}
        wanted: dict[Session, dict[Row, int]] = {}
        for act in acts:
            sample = act.sample
            for leaf in act.plan.speakers:
                if unread := sample.unread(leaf):
                    session, row = sample.loaded.sessions[leaf], sample.rows[leaf]
                    work.setdefault(session, {})[row] = unread
                    wanted.setdefault(session, {})[row] = sample.wanted(leaf)
                    sample.loaded.speculation.called(leaf)
        for prompt, leaf, chunk in chunks:
            session, row = prompt.loaded.sessions[leaf], prompt.rows[leaf]
            work.setdefault(session, {})[row] = chunk
            is_end = prompt.read[leaf] + len(chunk) == len(prompt.contexts[leaf])
            wanted.setdefault(session, {})[row] = int(is_end)
        logits: dict[Session, dict[Row, Tensor]] = {}
        seconds: dict[Session, float] = {}
        failed = False
        for session, mine in work.items():
            if failed:  # some of these rows may be closed by now
                live = {row for home, row, _ in self._live_rows() if home.session is session}
                mine = {row: new for row, new in mine.items() if row in live}
            started = time.perf_counter()
            try:
                logits[session] = session.extend(mine, wanted[session])
            except LmalgebraError as error:
                self._fail_all_on(session, error)
                failed = True
            seconds[session] = time.perf_counter() - started
        return self._sorted(acts, chunks, logits), seconds

    def _fail_all_on(self, session: Session, error: LmalgebraError) -> None:
        """Refuse every request that has rows in `session`."""
        held = [*self._reading, *self._ready, *self._running]
        for index in {each.request.index for each in held if session in each.loaded.distinct_sessions()}:
            self._fail(index, error)

    def _sorted(
        self,
        acts: Sequence[Act],
        chunks: Sequence[tuple[Prompt, Term, list[int]]],
        logits: Mapping[Session, Mapping[Row, Tensor]],
    ) -> dict[tuple[GrowingSample, Term], Tensor]:
        """Give prompts and samples what their rows have said."""
        for prompt, leaf, chunk in chunks:
            session = prompt.loaded.sessions[leaf]
            if session in logits and leaf in prompt.rows:
                prompt.took(leaf, len(chunk), logits[session][prompt.rows[leaf]])
        fresh = {}
        for act in acts:
            sample, loaded = act.sample, act.sample.loaded
            for leaf in act.plan.speakers:
                session = loaded.sessions[leaf]
                if session in logits and sample.rows[leaf] in logits[session]:
                    own = logits[session][sample.rows[leaf]]
                    fresh[sample, leaf] = own[:, : loaded.vocabulary_size].to(loaded.device)
                    sample.has_read(leaf)
        return fresh

    # 5. judge, draw and tell

    def _settle(
        self,
        acts: Sequence[Act],
        fresh: Mapping[tuple[GrowingSample, Term], Tensor],
        seconds: Mapping[Session, float],
    ) -> None:
        """Let `acts`, which share a plan, take effect."""
        started = time.perf_counter()
        loaded = acts[0].sample.loaded
        verdicts = self._judge(acts, evaluate(acts, fresh))
        spent = time.perf_counter() - started
        its = acts[0].sessions
        spent_in_all = spent + sum(seconds[session] for session in its) if its <= set(seconds) else None
        loaded.speculation.measure(acts, verdicts, spent_in_all)
        for verdict in verdicts:
            self._take(verdict)

    def _judge(self, acts: Sequence[Act], scores: Mapping[Term, Tensor]) -> list[Verdict]:
        """The verdicts of those that have one; requests whose formula fails are refused, one by one."""
        try:
            return judge(acts, scores)
        except LmalgebraError as error:
            if len(acts) == 1:
                self._fail(acts[0].sample.request.index, error)
                return []
        split = {leaf: each.split([act.rows for act in acts]) for leaf, each in scores.items()}
        return [
            verdict
            for i, act in enumerate(acts)
            if act.sample in self._running  # another sample of its request may have failed
            for verdict in self._judge([act], {leaf: parts[i] for leaf, parts in split.items()})
        ]

    def _take(self, verdict: Verdict) -> None:
        act, sample = verdict.act, verdict.act.sample
        if sample not in self._running:  # another sample of its request has failed
            return
        laws = verdict.laws if sample.settings.temperature > 0 else [None] * (verdict.accepted + 1)
        sample.take(act.stage, verdict.accepted, verdict.token, list(laws))
        if not act.is_last:
            return
        before = sample.said
        events = sample.say(verdict.logprobs, verdict.likeliest)
        sample.loaded.speculation.said(sample.said - before)
        self._events += events
        if events and isinstance(events[-1], Sample):
            self._running.remove(sample)
            self._release(sample)

    def _release(self, sample: GrowingSample) -> None:
        """Keep the rows of a request's first sample for prompts that go on from it, and close the others."""
        sample.forget_states()
        for leaf, row in sample.rows.items():
            session = sample.loaded.sessions[leaf]
            if sample.number:
                session.close(row)
            else:
                said = [*sample.contexts[leaf], *sample.tokens]
                self._kept.keep(sample.loaded.homes[leaf], row, said[: session.length(row)])
