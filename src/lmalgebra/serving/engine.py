"""Between the event loop and the service's thread: requests go there, and what they say comes back as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from lmalgebra.algebra import Bias
from lmalgebra.decoding import Event, Piece, Refusal, Sample, Service, Ticket
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.explanation import Explanation, explain_in_parts
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.scheduler import READ_TOKENS
from lmalgebra.errors import DecodingError, LostError
from lmalgebra.serving.errors import ApiError, busy, too_slow, unavailable
from lmalgebra.serving.prepare import Prepared, require_affordable
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.tokens import know_tokens
from lmalgebra.serving.voices import ServedVoice

Result = TypeVar("Result")

READERS = 2
"""Threads that read requests: one may be compiling a schema while another goes on."""

WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Told:
    """What sample `number` after prompt `place` has said."""

    place: int
    event: Piece | Sample


class _Post:
    """From the service's thread to the event loop, which is woken once for all that is sent until it is awake."""

    def __init__(self) -> None:
        self._under_way: deque[Callable[[], None]] = deque()

    def send(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[], None]) -> None:
        """Let the loop call `deliver`, in the order of sending."""
        self._under_way.append(deliver)
        if len(self._under_way) == 1:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._under_way:
            self._under_way.popleft()()


class Run:
    """The texts of one request, while they are spoken."""

    def __init__(self, prepared: Prepared, post: _Post, seconds: float) -> None:
        self.prepared, self._post = prepared, post
        self.prompt_tokens: Sequence[int] = ()
        self.tokens: Counter[tuple[int, int]] = Counter()
        self.samples: dict[tuple[int, int], Sample] = {}
        self._coming: asyncio.Queue[tuple[int, Event | ApiError]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._tickets: list[Ticket] = []
        self._is_cancelled = False
        self._seconds, self._deadline = seconds, self._loop.time() + seconds
        self._late = self._loop.call_at(self._deadline, lambda: self.give_up(too_slow(seconds)))

    def listener(self, place: int) -> Callable[[Event], None]:
        """Hears, on the service's thread, what is said after prompt `place`."""
        return lambda event: self._post.send(self._loop, partial(self._coming.put_nowait, (place, event)))

    def add(self, ticket: Ticket) -> None:
        """One of its requests to the service, from whose thread this is called."""
        self._tickets.append(ticket)
        if self._is_cancelled:  # meanwhile, by the event loop
            ticket.cancel()

    @property
    def wanted(self) -> int:
        """How many texts it will have."""
        return len(self.prepared.prompts) * self.prepared.settings.samples

    async def told(self) -> AsyncIterator[Told]:
        """What is said, to be read once. Raises what a prompt is refused for, and ApiError when it takes too long."""
        while len(self.samples) < self.wanted:
            place, event = await self._coming.get()
            if isinstance(event, ApiError):
                raise event
            if isinstance(event, Refusal):
                raise event.error
            if isinstance(event, Sample):
                self.samples[place, event.number] = event
                self.tokens[place, event.number] = len(event.tokens)
            else:
                self.tokens[place, event.number] += len(event.tokens)
            yield Told(place, event)

    async def in_time(self, work: Awaitable[Result]) -> Result:
        """What `work` gives. Raises ApiError when the request takes too long."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await work
        except TimeoutError:
            raise too_slow(self._seconds) from None

    def give_up(self, error: ApiError) -> None:
        """Let `told` raise `error` after what was said until now."""
        self._coming.put_nowait((0, error))

    def cancel(self) -> None:
        """Stop working on what is not done; rows are free before the next step."""
        self._late.cancel()
        self._is_cancelled = True
        for ticket in list(self._tickets):
            if not ticket.done:
                ticket.cancel()

    @property
    def in_order(self) -> list[tuple[int, Sample]]:
        """The finished samples, each after its place among the choices."""
        each = self.prepared.settings.samples
        return sorted(
            ((place * each + number, sample) for (place, number), sample in self.samples.items()),
            key=lambda pair: pair[0],
        )


class Engine:
    """The service, and the limits on what it is asked."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        most = settings.max_in_hand * (settings.max_prompts + 1)  # `place` is stricter, and counts whole requests
        self.service = Service(max_samples=settings.max_running, max_waiting=most)
        self.in_hand = 0
        self.is_closing = False
        self._runs: set[Run] = set()
        self._post = _Post()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="lmalgebra reader")
        self._seconds = 1.0  # a mean of how long requests take, which forgets

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request, from before it is read until it is answered. Raises ApiError when all are taken."""
        if self.is_closing:
            raise unavailable("The server ends, and takes no more requests.")
        if self.in_hand >= self.settings.max_in_hand:
            raise busy(f"{self.in_hand:,} requests are in hand already.", self.retry_seconds)
        self.in_hand += 1
        started = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self.in_hand -= 1
            self._seconds += 0.1 * (asyncio.get_running_loop().time() - started - self._seconds)

    @property
    def retry_seconds(self) -> int:
        """In how many seconds there may be a place, going by how long requests take."""
        ahead = 1 + self.service.waiting / self.settings.max_running
        return min(60, max(1, math.ceil(self._seconds * ahead)))

    async def read(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, on a thread for reading requests."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def perform(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, on the service's thread, where models and tokenizers may be used."""
        return await asyncio.wrap_future(self.service.perform(work))

    async def perform_in_parts(self, work: Callable[[], Parts[Result]]) -> Result:
        """What `work` returns in the end; others speak between its parts."""
        return await asyncio.wrap_future(self.service.perform_in_parts(work))

    async def run(self, prepared: Prepared) -> Run:
        """Begin to speak. Raises ApiError for what costs too much, PromptError for what is too long."""
        run = Run(prepared, self._post, self.settings.request_seconds)
        try:
            await self.perform_in_parts(lambda: self._begin(run))
        except BaseException:
            run.cancel()
            raise
        return run

    def _begin(self, run: Run) -> Parts[None]:
        """Read the prompts, in parts, and have them answered; on the service's thread, so that no step comes between
        the last part and that. Raises ApiError for what costs too much, PromptError and BusyError.
        """
        prepared, settings = run.prepared, run.prepared.settings
        counts = yield from prompt_tokens(prepared)
        texts = settings.max_new_tokens * settings.samples * len(prepared.prompts)
        require_affordable(prepared, sum(map(sum, counts)), texts, self.settings)
        run.prompt_tokens = [each[0] for each in counts]
        for place, prompt in enumerate(prepared.prompts):
            changes = vars(settings) | {"seed": prepared.seed(place)}
            run.add(self.service.submit(prepared.speaker, prompt, run.listener(place), **changes))

    async def explain(self, run: Run) -> dict[int, Explanation]:
        """What moved the tokens of each finished text, by its place among the choices. Raises ApiError as `in_time`."""
        loaded, most = run.prepared.speaker.loaded, run.prepared.settings.max_new_tokens
        explain = partial(explain_in_parts, loaded, **part_sizes(loaded))
        return {
            place: await run.in_time(self.perform_in_parts(partial(explain, sample.prompt, sample.tokens, most)))
            for place, sample in run.in_order
        }

    @contextlib.contextmanager
    def running(self, run: Run) -> Iterator[Run]:
        """While a run is told; nothing more is computed for it afterwards."""
        self._runs.add(run)
        try:
            yield run
        finally:
            self._runs.discard(run)
            run.cancel()

    def give_up(self) -> None:
        """Tell all who wait that the server ends."""
        for run in self._runs:
            run.give_up(unavailable("The server ends, and could not finish this in time."))

    def warm_up(self, served: ServedVoice) -> None:
        """Let a voice say a few tokens, so that its first request does not wait for what is made once.

        A voice that cannot say so few is warm enough: it has read a prompt.
        """
        if not self.settings.warm_up:
            return
        changes = {"max_new_tokens": WARM_UP_TOKENS, "min_new_tokens": 0, "samples": 1}
        try:
            self.service.submit(served.composed, "hello", **changes).result()
        except LostError:
            raise
        except DecodingError:
            pass
        self.service.perform(lambda: know_tokens(served.composed.loaded)).result()

    def close(self, finish: bool) -> None:
        """End the service's thread and the readers."""
        self.service.close(finish)
        self._readers.shutdown(wait=False, cancel_futures=True)


def part_sizes(loaded: LoadedFormula) -> dict[str, int]:
    """How much a part of long work may compute: as much as the service reads of prompts between what it says."""
    plan = loaded.plan
    candidates = sum(bias.description.candidates for bias in plan.biases if isinstance(bias.description, Bias))
    return {"block": max(1, READ_TOKENS // (len(plan.speakers) + candidates)), "chunk": READ_TOKENS}


def prompt_tokens(prepared: Prepared) -> Parts[list[list[int]]]:
    """How many tokens each language model reads of each prompt; for the service's thread. Raises PromptError."""
    loaded = prepared.speaker.loaded
    found = []
    for prompt in prepared.prompts:
        if found:
            yield
        contexts = loaded.contexts(conversation(prompt))
        found.append([len(contexts[leaf]) for leaf in loaded.plan.speakers])
    return found
