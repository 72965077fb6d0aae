"""Whether a seed gives the same text alone and among others: exact in principle, but sums are rounded in another order.

    python benchmarks/seeds.py [--requests 32] [--rounds 4] [--tokens 64] [--output benchmarks/seeds.json]

In each round so many requests, of formulas of 1 to 4 terms, different prompts and different seeds, are answered one by
one, one by one again (the control), and all at once. A text differs when any of its tokens does; the position of the
first difference counts tokens from 1.
"""

import gc
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import side_by_side

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice, Request, Sample, Scheduler
from lmalgebra.decoding.context import conversation

DTYPES = ("bfloat16", "float32")
SUBJECTS = ("a city at night", "the sea", "an old clock", "a train journey", "your favourite colour", "winter", "a cat")
Texts = Mapping[tuple[int, int], tuple[int, ...]]
"""The tokens of each text, by the voice's place and the seed."""


def main() -> None:
    chosen = side_by_side.options(__doc__, __file__, requests=32, rounds=4, tokens=64).parse_args()
    rows = [row for dtype in DTYPES for row in compare(dtype, chosen.requests, chosen.rounds, chosen.tokens)]
    side_by_side.show("Texts of the same seed", rows)
    side_by_side.write(side_by_side.record(chosen) | {"seeds": rows}, chosen.output)


def compare(dtype: str, requests: int, rounds: int, tokens: int) -> list[dict[str, Any]]:
    """A row for the control and one for each formula among others, and for all formulas."""
    print(f"Loading {side_by_side.WEIGHTS} in {dtype} ...", flush=True)
    named = voices(dtype)
    alone: dict[tuple[int, int], tuple[int, ...]] = {}
    again, among = dict(alone), dict(alone)
    for index in range(rounds):
        seeds = range(index * requests, (index + 1) * requests)
        for found, run in ((alone, one_by_one), (again, one_by_one), (among, all_at_once)):
            found |= run(list(named.values()), seeds, tokens)
        print(f"{dtype}: round {index + 1} of {rounds} done", flush=True)
    rows = [row(dtype, "all", "alone again", alone, again), row(dtype, "all", f"among {requests - 1}", alone, among)]
    for place, name in enumerate(named):
        mine = {key: text for key, text in alone.items() if key[0] == place}
        rows.append(row(dtype, name, f"among {requests - 1}", mine, among))
    gc.collect()  # the weights, before others are loaded
    return rows


def voices(dtype: str) -> dict[str, ComposedVoice]:
    """Voices of formulas of 1 to 4 terms over one set of weights."""
    models = la.Models()
    model = la.model(side_by_side.WEIGHTS, dtype=dtype)
    return {name: la.voice(formula, models=models) for name, formula in side_by_side.formulas(model).items()}


def asked(spoken: Sequence[ComposedVoice], seed: int, tokens: int) -> tuple[int, Request]:
    """The place of the voice that the request of this seed is for, and the request."""
    place = seed % len(spoken)
    prompt = f"Describe {SUBJECTS[seed % len(SUBJECTS)]} in {2 + seed % 5} sentences."
    return place, Request(seed, conversation(prompt), spoken[place].settings.replace(seed=seed, max_new_tokens=tokens))


def one_by_one(spoken: Sequence[ComposedVoice], seeds: Iterable[int], tokens: int) -> Texts:
    """What the requests say when each is alone."""
    return dict(itertools.chain.from_iterable(all_at_once(spoken, [seed], tokens).items() for seed in seeds))


def all_at_once(spoken: Sequence[ComposedVoice], seeds: Iterable[int], tokens: int) -> Texts:
    """What the requests say together."""
    scheduler = Scheduler()
    places = {}
    for seed in seeds:
        places[seed], request = asked(spoken, seed, tokens)
        scheduler.add(spoken[places[seed]].loaded, request)
    found = {}
    while scheduler.busy:
        for event in scheduler.step():
            if isinstance(event, Sample):
                found[places[event.seed], event.seed] = event.tokens
    return found


def row(dtype: str, formula: str, how: str, expected: Texts, found: Texts) -> dict[str, Any]:
    """How many of the expected texts differ, and where they first do."""
    first = [place for key, text in expected.items() if (place := first_difference(text, found[key]))]
    return {
        "dtype": dtype,
        "formula": formula,
        "how": how,
        "texts": len(expected),
        "tokens": sum(map(len, expected.values())),
        "differ": len(first),
        "share": round(len(first) / max(1, len(expected)), 4),
        "median_first_difference": statistics.median(first) if first else None,
    }


def first_difference(text: Sequence[int], other: Sequence[int]) -> int:
    """The position of the first token that differs, from 1; 0 when none does."""
    pairs = enumerate(itertools.zip_longest(text, other), 1)
    return next((position for position, (ours, theirs) in pairs if ours != theirs), 0)


if __name__ == "__main__":
    main()
