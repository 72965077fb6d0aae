"""Whether a server stands many clients for a while: no error, no growth, every request accounted for.

    python benchmarks/load.py [--model smollm2-135m] [--clients 64] [--seconds 300] [--tokens 24] [--output FILE]

`lmalgebra serve` runs in a process of its own. Each client asks one request after another, until the time is over:
formula, prompt, length and whether it streams are drawn at random, and some requests are for scores, rewrites or
explanations. A third leaves midway: after some pieces of a stream, or some time before a whole answer.

Then, and it fails where one of these does not hold:

- answers: each request whose client stayed was answered with status 200 and to its end.
- accounted: /metrics has every request that was asked, with status 200 or as left (499), no other status; nothing is
  in hand or waiting, and half of those who left are counted as left (an answer may have been ready).
- log: nothing in it is an error.
- memory: the resident memory of the process is looked at every second. The first quarter, in which caches grow, is left
  out; the median of the last quarter is at most 5 % or 20 MB above that of the second.

With `--model toy` it takes no model and tries the server alone.
"""

import argparse
import http.client
import json
import random
import re
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import server_process
import side_by_side
from server_process import HEADERS, Server, Told, stream

import lmalgebra as la

FORMULAS = (
    "base",
    "base + {w} * (formal - base)",
    "base - {w} * union(poet, base)",
    "base + {w} * (formal - poet)",
    "mix(0.5 * base, 0.5 * poet) + within(base, top_p=0.9)",
)
GROWTH, MEGABYTES = 0.05, 20


def main() -> None:
    defaults = {"model": "smollm2-135m", "clients": 64, "seconds": 300, "tokens": 24}
    options = side_by_side.options(__doc__, __file__, **defaults).parse_args()
    results = side_by_side.record(options)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _voice(options.model).save(place / "voice.toml")
        settings = 'max_running = 32\nmax_waiting = 128\n[rewriters]\nvoice = "Say again: {{ text }}"\n'
        with server_process.ours(place, place / "log", settings) as server:
            told, memory = _loaded(server, options)
            found = _judged(server, told, memory)
    results |= found
    side_by_side.write(results, options.output)
    print(json.dumps(found, indent=2))
    if found["failed"]:
        raise SystemExit(1)


def _voice(source: str) -> la.ComposedVoice:
    model = la.model(source, **({} if source == "toy" else {"dtype": "bfloat16"}))
    if source == "toy":
        base, formal, poet = (
            model.term(name=name, prefix=text)
            for name, text in {"base": "", "formal": "dear sir, ", "poet": "a rose "}.items()
        )
    else:
        base, formal, poet = side_by_side.terms(model, "base", "formal", "poet")
    return la.voice(base + 0.5 * (formal - base) + 0.1 * la.tilt(poet), temperature=1, max_new_tokens=24)


# load


def _loaded(server: Server, options: argparse.Namespace) -> tuple[list[Told], list[float]]:
    """What came of each request, and the server's memory at every second."""
    end = time.monotonic() + options.seconds
    memory: list[float] = []
    watched = threading.Thread(target=_watch, args=(server, end, memory))
    watched.start()
    with ThreadPoolExecutor(options.clients) as pool:
        found = list(pool.map(lambda client: _client(server, client, end, options), range(options.clients)))
    watched.join()
    return [told for each in found for told in each], memory


def _watch(server: Server, end: float, memory: list[float]) -> None:
    while time.monotonic() < end:
        memory.append(server.megabytes())
        time.sleep(1)


def _client(server: Server, client: int, end: float, options: argparse.Namespace) -> list[Told]:
    draw, found = random.Random(client), []
    while time.monotonic() < end:
        found.append(_request(server.port, draw, options))
    return found


def _request(port: int, draw: random.Random, options: argparse.Namespace) -> Told:
    """One request; of three, one client leaves."""
    body = {"model": "voice", "formula": draw.choice(FORMULAS).format(w=draw.choice((0.3, 0.6, 0.9)))}
    text = f"Write a line about the number {draw.randrange(10**6)}."
    leaves = draw.random() < 1 / 3
    spoken = body | {"messages": [{"role": "user", "content": text}], "max_tokens": draw.randint(4, 2 * options.tokens)}
    if draw.random() < 0.6:
        pieces = draw.randint(1, options.tokens // 2) if leaves else 10**9
        return stream(port, spoken, lambda told: len(told.pieces) < pieces)
    kinds: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("/v1/chat/completions", spoken | {"n": draw.randint(1, 3)}),
        ("/v1/chat/completions", spoken | {"explain": True}),
        ("/v1/completions", body | {"prompt": [text, text], "max_tokens": options.tokens}),
        ("/v1/score", body | {"prompt": text, "continuation": [text * 3, "yes"]}),
        ("/v1/rewrite", {"model": "voice", "input": [text, "yes"], "max_tokens": options.tokens}),
    )
    path, asked = draw.choice(kinds)
    return _whole(port, path, asked, draw.uniform(0.01, 1) if leaves else None)


def _whole(port: int, path: str, body: Mapping[str, Any], leave_after: float | None) -> Told:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=server_process.PATIENCE)
    told = Told(time.perf_counter())
    try:
        connection.request("POST", path, json.dumps(body), HEADERS)
        if leave_after is not None:
            time.sleep(leave_after)
            told.end = "left"
            return told
        answer = connection.getresponse()
        told.status, text = answer.status, answer.read()
        told.end = "done" if answer.status == 200 else text[:300].decode()
        return told
    finally:
        connection.close()


# what is found


def _judged(server: Server, told: Sequence[Told], memory: Sequence[float]) -> dict[str, Any]:
    """Everything that was seen, and what of it must not be."""
    ends = Counter(each.end if each.end in ("done", "left") else "other" for each in told)
    wrong = [f"{each.status} {each.end}" for each in told if each.end not in ("done", "left")]
    metrics = _settled(server)
    statuses = {
        status: int(count)
        for status in ("200", "499")
        if (count := sum(value for name, value in metrics.items() if _is_of(name, status)))
    }
    counted = int(sum(value for name, value in metrics.items() if _is_of(name)))
    quarter = len(memory) // 4
    before, after = (statistics.median(part or [0]) for part in (memory[quarter : 2 * quarter], memory[-quarter:]))
    errors = [line for line in server.log.read_text().splitlines() if '"level": "error"' in line or "Traceback" in line]
    is_accounted = counted == len(told) == sum(statuses.values())
    has_grown = after - before > max(GROWTH * before, MEGABYTES)
    failed = {
        "answers": wrong[:5],
        "accounted": [] if is_accounted else [f"{len(told)} asked, {counted} counted, {statuses}"],
        "left": [] if statuses.get("499", 0) >= 0.5 * ends["left"] else [f"{ends['left']} left, {statuses} counted"],
        "in hand": [name for name in HELD if metrics[name]],
        "log": errors[:5],
        "memory": [f"{before:.0f} to {after:.0f} MB"] if has_grown else [],
    }
    return {
        "requests": len(told),
        "ends": dict(ends),
        "statuses": statuses,
        "tokens": int(metrics['lmalgebra_generated_tokens_total{voice="voice"}']),
        "megabytes": {"second quarter": round(before), "last quarter": round(after), "most": round(max(memory))},
        "failed": {name: those for name, those in failed.items() if those},
    }


HELD = ("lmalgebra_requests_in_hand", "lmalgebra_requests_waiting")


def _settled(server: Server) -> dict[str, float]:
    """The metrics once nothing is in hand any more, or after a minute."""
    deadline = time.monotonic() + 60
    while True:
        lines = re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", server.get("/metrics"), re.MULTILINE)
        metrics = {name: float(value) for name, value in lines}
        if not any(metrics[name] for name in HELD) or time.monotonic() > deadline:
            return metrics
        time.sleep(0.2)


def _is_of(name: str, status: str = "") -> bool:
    """Whether a metric counts requests for text, of that status."""
    return name.startswith("lmalgebra_requests_total") and 'route="/v1/' in name and f'status="{status}' in name


if __name__ == "__main__":
    main()
