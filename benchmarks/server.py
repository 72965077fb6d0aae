"""What HTTP costs: the server against the engine without it, and against `transformers serve` of the plain model.

    python benchmarks/server.py [--parts http,transformers] [--clients 1,4,16] [--repeats 5] [--output FILE]

One set of weights (SmolLM2-135M in bfloat16), each server in a process of its own. N clients ask one request after
another, each with a prompt of its own, sampled, 32 tokens, streamed. What is compared runs in turn (side_by_side.py).

- http: `lmalgebra serve` over a `Service` in this process that is asked the same by as many threads: four formulas in
  turn. Throughput, and the median and the 95th percentile of the times to the first text and to the last.
- transformers: `transformers serve` over `lmalgebra serve` of a formula that is one term, which is the plain model
  under the same prompts. `--transformers-options=--continuous-batching` lets it batch where it can.

The clients compute on the same machine, for the engine hardly, so their share is part of what HTTP costs. Ratios above
1 mean that the first is slower. Not comparable: times of different parts or runs.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import server_process
import side_by_side
from server_process import Told, stream
from side_by_side import clock, interleave, ratio

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice, Service
from lmalgebra.models import catalog
from serving import Clock, apart

END_TOKEN = 2
"""SmolLM2's, which `transformers serve` is not told by the model's settings once it is given others."""

Ask = Callable[[int], Told]
"""Asks request i, and says what came of it."""


def main() -> None:
    defaults = {
        "parts": "http,transformers",
        "clients": "1,4,16",
        "requests": 4,
        "repeats": 5,
        "tokens": 32,
        "transformers_options": "",
    }
    options = side_by_side.options(__doc__, __file__, **defaults).parse_args()
    parts = {"http": http, "transformers": against_transformers}
    results = side_by_side.record(options)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.parts.split(","):
            print(f"\n== {name}", flush=True)
            results[name] = parts[name](Path(folder), options)
    side_by_side.write(results, options.output)


def http(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    formulas = side_by_side.formulas(la.model(side_by_side.WEIGHTS, dtype="bfloat16")).values()
    voices = [la.voice(formula, temperature=1) for formula in formulas]
    for voice in voices:
        apart(lambda voice=voice: voice.generate("Say hello.", max_new_tokens=2))  # loads, and compiles kernels
    with served(voices, folder / "http") as server, Service() as service:

        def engine(number: int) -> Told:
            pieces, asked = Clock(), clock()
            voice = voices[number % len(voices)]
            sampling = {"max_new_tokens": options.tokens, "min_new_tokens": options.tokens, "seed": number}
            service.submit(voice, prompt(number), pieces, **sampling).result()
            return Told(asked, pieces.times, 200, "done")

        asks = {"server": lambda number: _ours(server.port, number, len(voices), options), "engine": engine}
        return compared(asks, options)


def against_transformers(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    (base,) = side_by_side.terms(la.model(side_by_side.WEIGHTS, dtype="bfloat16"), "base")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(served([la.voice(base, temperature=1)], folder / "plain"))
        weights, log = catalog.path(side_by_side.WEIGHTS), folder / "transformers.log"
        extra = options.transformers_options.split()
        other = stack.enter_context(server_process.transformers(weights, "bfloat16", extra, log))
        sampling = {"do_sample": True, "min_new_tokens": options.tokens, "eos_token_id": END_TOKEN}

        def theirs(number: int) -> Told:
            system = {"role": "system", "content": side_by_side.SYSTEMS["base"]}
            return stream(
                other.port,
                {
                    "model": str(weights),
                    "messages": [system, {"role": "user", "content": prompt(number)}],
                    "max_tokens": options.tokens,
                    "temperature": 1.0,
                    "seed": number,
                    "generation_config": json.dumps(sampling | {"max_new_tokens": options.tokens}),
                },
            )

        return compared(
            {"transformers serve": theirs, "server": lambda number: _ours(server.port, number, 1, options)}, options
        )


def served(voices: Sequence[ComposedVoice], folder: Path) -> Any:
    """Our server, of voices that are named by their places."""
    folder.mkdir()
    for place, voice in enumerate(voices):
        voice.save(folder / f"v{place}.toml")
    return server_process.ours(folder, folder / "log")


def prompt(number: int) -> str:
    return f"Write a line about the number {number}."


def _ours(port: int, number: int, voices: int, options: argparse.Namespace) -> Told:
    body = {
        "model": f"v{number % voices}",
        "messages": [{"role": "user", "content": prompt(number)}],
        "max_tokens": options.tokens,
        "min_tokens": options.tokens,
        "seed": number,
    }
    return stream(port, body)


def compared(asks: dict[str, Ask], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of clients and each quantity: the first of `asks` over the second."""
    for ask in asks.values():
        _checked(ask(0))  # what is made once
    rows: list[dict[str, Any]] = []
    for clients in map(int, options.clients.split(",")):
        actions = {
            name: lambda repeat, ask=ask, clients=clients: _all(ask, clients, clients * options.requests, repeat)
            for name, ask in asks.items()
        }
        found = interleave(actions, options.repeats)
        (over, mine), (under, theirs) = found.items()
        for quantity in mine[0]:
            first, second = ([each[quantity] for each in these] for these in (mine, theirs))
            shown = {f"{name}": round(statistics.median(these), 3) for name, these in ((over, first), (under, second))}
            rows.append({"clients": clients, "quantity": quantity} | shown | ratio(first, second))
    side_by_side.show(f"Seconds of {' and '.join(asks)}, and the ratio", rows)
    return rows


def _all(ask: Ask, clients: int, requests: int, repeat: int) -> dict[str, float]:
    """What so many requests of so many clients took, each repeat with prompts of its own."""
    started = clock()
    with ThreadPoolExecutor(clients) as pool:
        told = list(pool.map(lambda number: _checked(ask(number)), range(repeat * requests, (repeat + 1) * requests)))
    spent = clock() - started
    firsts, wholes = [each.first for each in told], [each.whole for each in told]
    return {
        "per request": spent / requests,
        "first text, median": statistics.median(firsts),
        "first text, 95 %": _percentile(firsts),
        "whole, median": statistics.median(wholes),
        "whole, 95 %": _percentile(wholes),
    }


def _percentile(values: Sequence[float], share: float = 0.95) -> float:
    """The least value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _checked(told: Told) -> Told:
    if told.end != "done" or not told.pieces:
        raise RuntimeError(f"a request was not answered: {told.status} {told.end}")
    return told


if __name__ == "__main__":
    main()
