"""What a service of many requests gives: throughput, and how long a request waits for its first token.

    python benchmarks/serving.py [--parts throughput,waiting,prefixes] [--repeats 5] [--output benchmarks/serving.json]

One set of weights (SmolLM2-135M in bfloat16), one process; what is compared runs in turn, as in side_by_side.py.

- throughput: 1, 4, 16 and 64 requests submitted at once to a `Service`, of four formulas in turn, each request with a
  prompt of its own, sampled, 32 tokens each, over the same requests one after another through `voice.generate`. Reading
  the prompts is part of both. A service runs 32 samples at once, so half of 64 requests wait at first, and what it has
  read of a system prompt is copied for later requests, which `generate` does not do. Fewer repeats for more requests.
- waiting: a short request arrives while a prompt of 4,000 tokens is being read, at another moment in each repeat. Its
  time to the first piece of text in an idle service; in one that reads the long prompt in chunks; and where the short
  one has to wait until the long one is read. Then the gaps between the pieces of a text in progress: undisturbed, while
  the long prompt is read in chunks, and while it is read all at once (`read_tokens` as long as the prompt).
- prefixes: time to the first piece of a request, and of a second one, later, that begins with the same 1,000 tokens.

Not comparable: times of different parts or runs. Throughput says nothing about several processes or a GPU, and requests
that arrive over time find other company. A piece is mostly one token.
"""

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import side_by_side
from side_by_side import interleave, ratio, seconds

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice, Service
from lmalgebra.decoding.request import Event, Piece

COUNTS = (1, 4, 16, 64)
SENTENCES = (
    "A letter came from the old house by the river.",
    "The garden was green in the small hours of the morning.",
    "Nobody saw who went up the road that evening.",
    "There was a light in the window for a long time.",
    "He counted the boats and wrote the number down.",
)
UNDISTURBED = 24
"""Gaps between pieces that are measured before the long prompt arrives."""


def main() -> None:
    defaults = {
        "parts": "throughput,waiting,prefixes",
        "repeats": 5,
        "tokens": 32,
        "waiting_repeats": 3,
        "long": 4000,
        "prefix": 1000,
    }
    options = side_by_side.options(__doc__, __file__, **defaults).parse_args()
    formulas = side_by_side.formulas(la.model(side_by_side.WEIGHTS, dtype="bfloat16"))
    voices = [la.voice(formula, temperature=1) for formula in formulas.values()]
    for voice in voices:
        apart(lambda voice=voice: voice.generate("Say hello.", max_new_tokens=2))  # loads, and compiles kernels
    parts = {"throughput": throughput, "waiting": waiting, "prefixes": prefixes}
    results = side_by_side.record(options)
    for name in options.parts.split(","):
        print(f"\n== {name}", flush=True)
        results[name] = parts[name](voices, options)
    side_by_side.write(results, options.output)


def apart(action: Callable[[], Any]) -> Any:
    """Run `action` on a thread that ends, so that its computing threads do not stay beside a service's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result()


class Clock:
    """A listener that notes when each piece of a request's text comes."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._more = threading.Condition()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Piece):
            with self._more:
                self.times.append(time.perf_counter())
                self._more.notify_all()

    def wait(self, pieces: int = 1) -> float:
        """When so many pieces had come. Raises TimeoutError after two minutes."""
        with self._more:
            if not self._more.wait_for(lambda: len(self.times) >= pieces, timeout=120):
                raise TimeoutError(f"only {len(self.times)} of {pieces} pieces came")
            return self.times[pieces - 1]


# throughput


def throughput(voices: list[ComposedVoice], options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = [_throughput(voices, count, options) for count in COUNTS]
    side_by_side.show("Tokens per second of the service over those of one request after another", rows)
    return rows


def _throughput(voices: list[ComposedVoice], count: int, options: argparse.Namespace) -> dict[str, Any]:
    requests = [(voices[i % len(voices)], f"Write a line about the number {i}.") for i in range(count)]
    settings = {"max_new_tokens": options.tokens, "min_new_tokens": options.tokens}
    repeats = min(options.repeats, max(2, 48 // count))
    actions = {
        "service": lambda _: seconds(lambda: _together(requests, settings)),
        "in turn": lambda _: seconds(lambda: apart(lambda: _in_turn(requests, settings))),
    }
    found = interleave(actions, repeats)
    per_second = count * options.tokens / statistics.median(found["service"])
    shown = {"requests": count, "repeats": repeats, "service_tokens_per_second": round(per_second, 1)}
    return shown | ratio(found["in turn"], found["service"])


def _together(requests: list[tuple[ComposedVoice, str]], settings: dict[str, Any]) -> None:
    with Service() as service:
        for ticket in [service.submit(voice, prompt, **settings) for voice, prompt in requests]:
            _whole(len(ticket.result().samples[0].tokens), settings)


def _in_turn(requests: list[tuple[ComposedVoice, str]], settings: dict[str, Any]) -> None:
    for voice, prompt in requests:
        _whole(len(voice.generate(prompt, **settings).samples[0].tokens), settings)


def _whole(tokens: int, settings: dict[str, Any]) -> None:
    if tokens != settings["max_new_tokens"]:
        raise RuntimeError("a request said fewer tokens than asked")


# waiting


def waiting(voices: list[ComposedVoice], options: argparse.Namespace) -> dict[str, Any]:
    voice = voices[0]
    long = _text(voice, options.long, seed=0)
    reading, repeats = _idle(voice, long), options.waiting_repeats

    def delay(repeat: int) -> float:
        """Within the first half of reading."""
        return 0.5 * reading * (repeat + 0.5) / repeats

    firsts = interleave(
        {
            "idle": lambda _: _idle(voice, "Say hello."),
            "while reading in chunks": lambda repeat: _while_reading(voice, long, delay(repeat)),
            "after the long prompt": lambda repeat: _after_reading(voice, long, delay(repeat)),
        },
        repeats,
    )
    first_rows = [
        {"short request": name, "milliseconds": round(1000 * statistics.median(mine), 1)} | ratio(mine, firsts["idle"])
        for name, mine in firsts.items()
    ]
    side_by_side.show(f"Time to first piece ({options.long} tokens are being read), over that when idle", first_rows)
    gaps = interleave(
        {
            "in chunks": lambda _: _gaps(voice, long),
            "all at once": lambda _: _gaps(voice, long, read_tokens=2 * options.long),
        },
        repeats,
    )
    gap_rows = [row for name, mine in gaps.items() for row in _gap_rows(name, mine)]
    side_by_side.show("Gaps between pieces while a long prompt is read, over the median gap before it came", gap_rows)
    return {
        "long_prompt_seconds": round(reading, 2),
        "first_piece": first_rows,
        "gaps": gap_rows,
    }


def _idle(voice: ComposedVoice, prompt: str) -> float:
    """Seconds to the first piece in a service that has nothing else to do."""
    with _service() as service:
        return _first_piece(service, voice, prompt)


def _while_reading(voice: ComposedVoice, long: str, delay: float) -> float:
    with _service() as service:
        _reading(service, voice, long, delay)
        return _first_piece(service, voice, "Say hello.")


def _after_reading(voice: ComposedVoice, long: str, delay: float) -> float:
    """As if a service read prompts whole, in the order of their arrival."""
    with _service() as service:
        begun = _reading(service, voice, long, delay)
        arrived = time.perf_counter()
        return begun.wait() - arrived + _first_piece(service, voice, "Say hello.")


def _reading(service: Service, voice: ComposedVoice, long: str, delay: float) -> Clock:
    """A service that has been reading `long` for so many seconds, or for half as many where it was read by then."""
    begun = _submit(service, voice, long)
    time.sleep(delay)
    return _reading(service, voice, long, delay / 2) if begun.times else begun


def _gaps(voice: ComposedVoice, long: str, **settings: int) -> tuple[list[float], list[float]]:
    """Gaps between the pieces of a text, before a long prompt comes and until it is read."""
    with _service(**settings) as service:
        spoken = _submit(service, voice, "Tell me a long story.", tokens=512)
        spoken.wait(8 + UNDISTURBED)
        before = len(spoken.times)
        arrived = _submit(service, voice, long)
        end = arrived.wait()
        during = [when for when in list(spoken.times)[before - 1 :] if when <= end]
    return _between(spoken.times[8:before]), _between(during)


def _between(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _gap_rows(name: str, found: list[tuple[list[float], list[float]]]) -> Iterator[dict[str, Any]]:
    usual = [statistics.median(before) for before, _ in found]
    kinds: dict[str, Callable[[list[float]], float]] = {"median": statistics.median, "worst": max}
    for kind, of in kinds.items():
        during = [of(gaps) for _, gaps in found]
        yield {
            "long prompt read": name,
            "gap": kind,
            "milliseconds": round(1000 * statistics.median(during), 1),
            "undisturbed": round(1000 * statistics.median(usual), 1),
        } | ratio(during, usual)


# prefixes


def prefixes(voices: list[ComposedVoice], options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for terms, voice in enumerate(voices[:2], 1):
        found = [_twice(voice, _text(voice, options.prefix, seed=repeat)) for repeat in range(options.repeats)]
        first, second = zip(*found, strict=True)
        milliseconds = {
            "first_milliseconds": round(1000 * statistics.median(first), 1),
            "second_milliseconds": round(1000 * statistics.median(second), 1),
        }
        rows.append({"terms": terms} | milliseconds | ratio(second, first))
    side_by_side.show(
        f"Time to first piece of a second request that shares {options.prefix} tokens, over the first", rows
    )
    return rows


def _twice(voice: ComposedVoice, text: str) -> tuple[float, float]:
    with Service() as service:
        first = _first_piece(service, voice, f"{text}\n\nWho came to the house?")
        return first, _first_piece(service, voice, f"{text}\n\nWhat colour is the garden?")


# what all use


@contextmanager
def _service(**settings: int) -> Iterator[Service]:
    """A service that keeps no rows of finished texts, and cancels what is left at the end."""
    service = Service(kept_rows=0, **settings)
    try:
        yield service
    finally:
        service.close(finish=False)


def _submit(service: Service, voice: ComposedVoice, prompt: str, tokens: int = 8) -> Clock:
    clock = Clock()
    service.submit(voice, prompt, clock, max_new_tokens=tokens, min_new_tokens=tokens)
    return clock


def _first_piece(service: Service, voice: ComposedVoice, prompt: str) -> float:
    """Seconds until a request's first piece comes; returns at the end of its text, which is short."""
    start, clock = time.perf_counter(), Clock()
    service.submit(voice, prompt, clock, max_new_tokens=8, min_new_tokens=8).result(timeout=120)
    return clock.times[0] - start


def _text(voice: ComposedVoice, tokens: int, seed: int) -> str:
    """Sentences that make so many tokens; another seed begins otherwise."""
    sentences = [f"Report {seed}.", *random.Random(seed).choices(SENTENCES, k=tokens)]
    tokenizer = voice.loaded.tokenizer
    return str(tokenizer.decode(tokenizer.encode([" ".join(sentences)])[:tokens]))


if __name__ == "__main__":
    main()
