"""Many requests from many threads: what a server, or anything that waits for several texts at once, is built on."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from lmalgebra.decoding.composed import ComposedVoice, Generation, Prompt
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.request import Event, Piece, Refusal, Request, Sample
from lmalgebra.decoding.scheduler import MAX_SAMPLES, READ_TOKENS, Scheduler
from lmalgebra.errors import BusyError, CacheFullError, DecodingError, LmalgebraError, LostError

log = logging.getLogger("lmalgebra")

Result = TypeVar("Result")

MAX_WAITING = 256
"""Requests that may wait for their turn; more are refused."""

KEPT_ROWS = 16
"""Rows of finished texts that are kept for prompts that begin like them."""


class Ticket:
    """A request that was submitted. Iterate over it for its text as it comes, or wait for the whole `result`."""

    def __init__(self, prompt: Prompt, request: Request, cancel: Callable[[int], None]) -> None:
        self.prompt, self.request = prompt, request
        self._cancel = cancel
        self._coming: SimpleQueue[Event | None] = SimpleQueue()
        self._samples: list[Sample] = []
        self._error: LmalgebraError | None = None
        self._finished = threading.Event()

    @property
    def done(self) -> bool:
        """Whether it is answered, refused or cancelled."""
        return self._finished.is_set()

    def events(self) -> Iterator[Piece | Sample]:
        """Pieces of text and samples as they come, to be read once. Raises what the request is refused for."""
        while (event := self._coming.get()) is not None:
            if isinstance(event, Refusal):
                raise event.error
            yield event

    def __iter__(self) -> Iterator[str]:
        """The text of the one sample, in pieces."""
        if self.request.settings.samples != 1:
            raise DecodingError(
                f"samples={self.request.settings.samples} cannot be spoken at once.",
                "Use events(), which says whose each piece is, or result().",
            )
        return (event.text for event in self.events() if isinstance(event, Piece))

    def result(self, timeout: float | None = None) -> Generation:
        """Wait until all samples are there, at most `timeout` seconds.

        Raises TimeoutError, what the request is refused for, or DecodingError when it was cancelled.
        """
        if not self._finished.wait(timeout):
            raise TimeoutError(f"The request is not answered after {timeout} seconds.")
        if self._error is not None:
            raise self._error
        return Generation(self.prompt, tuple(sorted(self._samples, key=lambda sample: sample.number)))

    def cancel(self) -> None:
        """Stop working on it; its rows are free before the next step. What was said stays in `events`."""
        self._cancel(self.request.index)

    def _take(self, event: Event) -> bool:
        """Add what has come; whether it was the last."""
        self._coming.put(event)
        if isinstance(event, Sample):
            self._samples.append(event)
        elif isinstance(event, Refusal):
            self._error = event.error
        return isinstance(event, Refusal) or len(self._samples) == self.request.settings.samples

    def _finish(self, error: LmalgebraError | None = None) -> None:
        self._error = self._error or error
        self._coming.put(None)
        self._finished.set()


def _loaded(voice: ComposedVoice) -> LoadedFormula:
    """The voice's loaded formula; loading runs on a thread that ends, and with it the threads that computed for it.

    OpenMP counts the computing threads of the whole process. With more than processors it lets them sleep between
    operations, which makes a step of the service 1.6 times as long.
    """
    if voice.is_loaded:
        return voice.loaded
    with ThreadPoolExecutor(1) as loader:
        return loader.submit(lambda: voice.loaded).result()


class Service:
    """Runs the requests that any thread submits, all together, on a thread of its own.

    The voices' models must not be used elsewhere meanwhile, and other threads should not compute with torch: see
    `_loaded`. `max_samples` run at once; `max_waiting` requests may wait.
    """

    def __init__(
        self,
        max_samples: int = MAX_SAMPLES,
        max_waiting: int = MAX_WAITING,
        read_tokens: int = READ_TOKENS,
        kept_rows: int = KEPT_ROWS,
    ) -> None:
        self._scheduler = Scheduler(max_samples, read_tokens, kept_rows)
        self._max_waiting = max_waiting
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tickets: dict[int, tuple[Ticket, Callable[[Event], None] | None]] = {}
        self._parts: deque[_InParts] = deque()
        self._numbers = count()
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="lmalgebra service", daemon=True)
        self._thread.start()

    def submit(
        self, voice: ComposedVoice, prompt: Prompt, listener: Callable[[Event], None] | None = None, **settings: Any
    ) -> Ticket:
        """Ask for text; `settings` replace the voice's. Loads the voice's models first, if they are not loaded yet.

        `listener` hears every event on the service's thread, and must return soon. Raises BusyError when too many
        wait or the service is closed, PromptError and DecodingError as `ComposedVoice.generate`.
        """
        loaded = _loaded(voice)
        with self._lock:
            self._require_room()
            request = Request(next(self._numbers), conversation(prompt), voice.settings.replace(**settings))
            ticket = Ticket(prompt, request, self._order_cancel)
            self._orders.put(lambda: self._add(ticket, listener, loaded))
        return ticket

    def perform(self, work: Callable[[], Result]) -> Future[Result]:
        """What `work` returns or raises, done on the service's thread between two steps, while which nothing speaks.

        So it may use the voices' models and tokenizers, which are not to be used elsewhere meanwhile. Raises BusyError
        as `submit`.
        """
        done: Future[Result] = Future()
        with self._lock:
            self._require_room()
            self._orders.put(lambda: _settle(done, work))
        return done

    def perform_in_parts(self, work: Callable[[], Parts[Result]]) -> Future[Result]:
        """As `perform`, for long work: one part of it, or of other such work, is done between two steps.

        Its parts may hold rows of the voices' sessions. Where there is no room for them it begins again when there is
        more. A future that is cancelled ends it before its next part.
        """
        done: Future[Result] = Future()
        with self._lock:
            self._require_room()
            self._orders.put(lambda: self._parts.append(_InParts(done, work)))
        return done

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self._scheduler.waiting + self._orders.qsize()

    @property
    def is_alive(self) -> bool:
        """Whether its thread works."""
        return self._thread.is_alive()

    def _require_room(self) -> None:
        if self._closing:
            raise BusyError("The service is closed and takes no more requests.")
        if self.waiting >= self._max_waiting:
            raise BusyError(f"{self._max_waiting:,} requests are waiting already.", "Try again in a moment.")

    def close(self, finish: bool = True) -> None:
        """Take no more requests; wait until those that are here are answered or, without `finish`, cancel them."""
        with self._lock:
            self._closing = True
            self._orders.put(self._nothing if finish else self._cancel_all)
        self._thread.join()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(finish=error is None)

    # What follows runs on the service's thread.

    def _work(self) -> None:
        while not (self._closing and self._orders.empty() and not self._is_busy):
            try:
                self._follow_orders(wait=not self._is_busy)
                self._do_a_part()
                self._follow_orders(wait=False)  # what the part has asked for
                self._scheduler.others_have_rows = bool(self._parts)
                events = self._scheduler.step() if self._scheduler.busy else []
            except Exception as error:  # a bug or a machine out of memory: this ends what runs, not the service
                log.exception("A step of the service failed.")
                self._end_all(_lost(error))
                continue
            for event in events:
                self._deliver(event)
        self._scheduler.close()

    @property
    def _is_busy(self) -> bool:
        return self._scheduler.busy or bool(self._parts)

    def _do_a_part(self) -> None:
        """A part of the work whose turn it is."""
        if not self._parts:
            return
        work = self._parts.popleft()
        try:
            is_left = work.go_on()
        except CacheFullError as error:
            is_left = self._scheduler.drop_kept() or self._is_busy
            if not is_left:
                work.fail(error)
        if is_left:
            self._parts.append(work)

    def _follow_orders(self, wait: bool) -> None:
        try:
            self._orders.get(block=wait)()
            while True:
                self._orders.get(block=False)()
        except Empty:
            pass

    def _add(self, ticket: Ticket, listener: Callable[[Event], None] | None, loaded: LoadedFormula) -> None:
        self._tickets[ticket.request.index] = ticket, listener
        try:
            self._scheduler.add(loaded, ticket.request)
        except Exception as error:  # a tokenizer or a template that breaks on this prompt
            log.exception("A request could not be added.")
            self._deliver(Refusal(ticket.request.index, _lost(error)))

    def _deliver(self, event: Event) -> None:
        ticket, listener = self._tickets[event.index]
        last = ticket._take(event)
        if listener is not None:
            try:
                listener(event)
            except Exception:
                log.exception("A listener failed; its request goes on.")
        if last:
            del self._tickets[event.index]
            ticket._finish()

    def _order_cancel(self, index: int) -> None:
        self._orders.put(lambda: self._cancel(index))

    def _cancel(self, index: int) -> None:
        if index in self._tickets:
            self._scheduler.cancel(index)
            self._tickets.pop(index)[0]._finish(DecodingError("The request was cancelled."))

    def _cancel_all(self) -> None:
        for work in self._parts:
            work.fail(DecodingError("The work was cancelled."))
        self._parts.clear()
        for index in list(self._tickets):
            self._cancel(index)

    def _end_all(self, error: LmalgebraError) -> None:
        try:
            self._scheduler.cancel_all()
        except Exception:
            log.exception("Rows could not be given back.")
        for index in list(self._tickets):
            self._deliver(Refusal(index, error))

    def _nothing(self) -> None:
        """Wakes the thread."""


class _InParts(Generic[Result]):
    """Work whose parts are done one by one, from the beginning again after a part that found no room."""

    def __init__(self, done: Future[Result], work: Callable[[], Parts[Result]]) -> None:
        self._done, self._work = done, work
        self._parts: Parts[Result] | None = None

    def go_on(self) -> bool:
        """Do a part; whether any is left. Raises CacheFullError where there is no room for it."""
        if self._done.cancelled():
            self._end()
            return False
        try:
            if self._parts is None:
                self._parts = self._work()
            next(self._parts)
        except StopIteration as end:
            if self._done.set_running_or_notify_cancel():
                self._done.set_result(end.value)
        except CacheFullError:
            self._parts = None
            raise
        except BaseException as error:
            self.fail(error)
        else:
            return True
        return False

    def fail(self, error: BaseException) -> None:
        """Tell who waits that nothing comes of it."""
        self._end()
        if self._done.set_running_or_notify_cancel():
            self._done.set_exception(error)

    def _end(self) -> None:
        if self._parts is not None:
            self._parts.close()


def _settle(done: "Future[Result]", work: Callable[[], Result]) -> None:
    """Do `work`, unless nobody waits for it any more."""
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)


def _lost(error: Exception) -> LostError:
    return LostError(f"The request was lost to a failure: {error!r}.", "Submit it again.")
