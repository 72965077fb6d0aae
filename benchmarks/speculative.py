"""What speculation saves, and what composed voices cost beside Transformers' `generate`.

    python benchmarks/speculative.py [--parts generate,terms,large,...] [--engines torch,native,native+int4] ...

Five parts; times are measured as in side_by_side.py, in turn within each repeat, and are ratios of one process.

- generate: ms per token of voices of 2 and 3 terms, without speculation, against `generate` of the plain model in
  bfloat16, at batch 1 and 8, greedy. `--engines` lists what computes ours: `torch` is exact and compiles nothing,
  `native` compiles kernels on first use and needs a C compiler; `native+int4` rounds the weights, too.
- terms: how often each term is called for a token when a part of the formula drafts, 12 prompts of 64 tokens sampled at
  temperature 1. These are counts, which no machine's speed enters, save for `auto`, which chooses by measured times.
  The two sums are those that the paper's repository times (eth-sri/language-model-arithmetic,
  scripts/evaluate_speed.py), each with the factor that stands there; it publishes no counts of calls.
- large: a formula with an expensive term, drafted by a cheap one, one text at a time: time per token over that without
  speculation. **The large model is a stand-in for cost** (see stand_in.py): SmolLM2-135M with 4 times the layers, of
  which the added ones compute and add nothing. So drafts are accepted as often as two prompts of one model agree.
- copying: drafts copied from prompts that ask to repeat or rewrite a paragraph, over the time without speculation.
- llamacpp: the same on llama.cpp, where it is installed, and with one term drafting for two.

`calls` are the passes of a term's row per token said, reading the prompt excluded; `tokens_per_pass` is how many tokens
are said each time that the whole formula judges or draws. `auto` has spoken before it is measured, so that its first
trials of each option are not in it; later trials are. Its acceptance is of all it said.

Not comparable: times of different parts or of different runs of this script; our calls with those of a paper that used
other models and prompts; `auto`'s choices on another machine.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import side_by_side
from side_by_side import Reference, Run, interleave, ratio, seconds, speak, terms
from stand_in import stand_in

import lmalgebra as la
from lmalgebra.algebra import Formula
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.native import has_compiler

BATCHES = (1, 8)
SUBJECTS = ("rain", "a lighthouse", "bread", "the moon", "a lost dog", "trains", "winter", "chess")
QUESTIONS = [f"{ask} about {it}." for ask in ("Tell me something", "Write a short letter") for it in SUBJECTS]
PARAGRAPHS = (
    "The harbour was quiet when the ferry came in. Two men in yellow coats threw the ropes, and a dog barked at the "
    "gulls until the engine stopped. Nobody got off except a woman with a green suitcase.",
    "Bread needs four things: flour, water, salt and time. Mix the flour and the water first, wait half an hour, and "
    "only then add the salt. The longer the dough rests, the better the bread will taste.",
    "The museum opens at nine on weekdays and at ten on Sundays. Tickets cost twelve euros for adults and five euros "
    "for children under fourteen. On the first Monday of each month the museum is closed.",
    "In 1969 the river rose by four metres in a single night. The old bridge was carried away, and for two years "
    "people crossed by boat. The new bridge, built of steel, was opened in May 1971.",
)
TASKS = {
    "repeat": "Repeat the following paragraph word for word:\n\n{}",
    "rewrite": "Rewrite the following paragraph in the present tense and keep everything else as it is:\n\n{}",
}


def main() -> None:
    options = _options()
    parts = {
        "generate": against_generate,
        "terms": of_terms,
        "large": of_a_large_model,
        "copying": of_copying,
        "llamacpp": on_llamacpp,
    }
    results = side_by_side.record(options)
    for name in options.parts.split(","):
        print(f"\n== {name}", flush=True)
        results[name] = parts[name](options)
    side_by_side.write(results, options.output)


def _options() -> argparse.Namespace:
    return side_by_side.options(
        __doc__,
        __file__,
        parts="generate,terms,large,copying" + ",llamacpp" * (find_spec("llama_cpp") is not None),
        engines="torch,native,native+int4" if has_compiler() else "torch",
        repeats=8,
        tokens=16,
        prompts=12,
        count_tokens=64,
        large_repeats=4,
        large_tokens=40,
        copy_repeats=4,
        copy_tokens=48,
    ).parse_args()


# generate


def against_generate(options: argparse.Namespace) -> dict[str, Any]:
    reference = Reference("bfloat16")
    voices = {}
    for engine in options.engines.split(","):
        name, _, rounded = engine.partition("+")
        model = la.model(side_by_side.WEIGHTS, dtype="bfloat16", engine=name, quantization=rounded or "none")
        formulas = side_by_side.formulas(model)
        voices |= {f"{name}, {engine}": la.voice(formulas[name]) for name in ("2 terms", "3 terms")}
    runs = []
    for batch in BATCHES:
        runs.append(Run("generate", batch, lambda tokens, batch=batch: reference.plain(batch, tokens)))
        for name, voice in voices.items():
            said = lambda tokens, voice=voice, batch=batch: speak(voice, batch, tokens)  # noqa: E731
            runs.append(Run(name, batch, said))
    times, _ = side_by_side.measure(runs, options.tokens, options.repeats)
    results = {
        "per_token": side_by_side.per_token(times),
        "ratios": side_by_side.ratios(times, [(name, "generate") for name in voices], BATCHES),
    }
    side_by_side.show("Time per token", results["per_token"])
    side_by_side.show("Our time over that of generate of the plain model in bfloat16", results["ratios"])
    return results


# terms


def of_terms(options: argparse.Namespace) -> list[dict[str, Any]]:
    model = la.model(side_by_side.WEIGHTS, dtype="bfloat16")
    base, formal, child, toxic = terms(model, "base", "formal", "child", "toxic")
    alone = ["off", "base:2", "base:4", "base:8", "auto"]
    staged = ["off", "base:4", "base:2 > base,formal:4", "base:4 > base,formal:8", "auto"]
    settings: list[tuple[Formula, list[str]]] = [
        (base + 0.6 * (formal - base), alone),
        (base - 0.96 * la.union(toxic, base), alone),
        (base + 0.2 * formal, ["off", "base:10", "auto"]),
        (base + 1.0 * formal, ["off", "base:5", "auto"]),
        (base + 0.6 * (formal - base) - 0.4 * child, staged),
    ]
    rows = [_calls(formula, chain, options) for formula, chains in settings for chain in chains]
    side_by_side.show("Calls of each term for a token", rows)
    return rows


def _calls(formula: Formula, chain: str, options: argparse.Namespace) -> dict[str, Any]:
    voice = la.voice(formula, speculate=chain, temperature=1, max_new_tokens=options.count_tokens)
    asked = QUESTIONS[: options.prompts]
    if chain == "auto":
        list(voice.generate_many(asked, seed=1))
    before = _counted(voice)
    list(voice.generate_many(asked))
    report = voice.speculation
    print(f"{formula}: {report}", flush=True)
    return {
        "formula": str(formula),
        "speculate": chain,
        **_shares(_counted(voice) - before),
        "acceptance": {pair: round(rate, 3) for pair, rate in report.acceptance.items()},
    }


# large, copying and llamacpp: one text at a time, another prompt in each repeat


def of_a_large_model(options: argparse.Namespace) -> list[dict[str, Any]]:
    (large,) = terms(la.model(str(stand_in(4)), dtype="bfloat16"), "base", prefix="large_")
    small = la.model(side_by_side.WEIGHTS, dtype="bfloat16")
    formal, base = terms(small, "formal", "base", prefix="small_")
    formula = large + 0.5 * (formal - base)
    voices = {"off": la.voice(formula)}
    for chain in ("draft:2", "draft:4", "draft:8", "auto"):
        voices[chain] = la.voice(formula, speculate=chain, draft=formal)
    rows = against_off(voices, QUESTIONS, options.large_tokens, options.large_repeats, temperature=1)
    side_by_side.show(f"`{formula}` drafted by `{formal}`, sampled: time per token over that of off", rows)
    return rows


def of_copying(options: argparse.Namespace) -> list[dict[str, Any]]:
    return _copying(la.model(side_by_side.WEIGHTS, dtype="bfloat16"), ("prompt:4", "prompt:8", "auto"), options)


def on_llamacpp(options: argparse.Namespace) -> list[dict[str, Any]]:
    model = la.model(side_by_side.WEIGHTS, engine="llamacpp")
    return _copying(model, ("base:4", "prompt:4", "prompt:8", "auto"), options)


def _copying(model: la.Model, chains: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    base, formal = terms(model, "base", "formal")
    formula = base + 0.6 * (formal - base)
    voices = {chain: la.voice(formula, speculate=chain) for chain in ("off", *chains)}
    rows = []
    for task, ask in TASKS.items():
        asked = [ask.format(paragraph) for paragraph in PARAGRAPHS]
        for kind, temperature in (("greedy", 0), ("sampled", 1)):
            print(f"{task}, {kind}", flush=True)
            found = against_off(voices, asked, options.copy_tokens, options.copy_repeats, temperature=temperature)
            rows += [{"task": task, "text": kind} | row for row in found]
    side_by_side.show(f"`{formula}`, prompts to copy from: time per token over that of off", rows)
    return rows


def against_off(
    voices: dict[str, ComposedVoice], prompts: list[str], tokens: int, repeats: int, **settings: Any
) -> list[dict[str, Any]]:
    """A row for each way of speculating: its time per token over that of "off", and what was counted."""
    for name, voice in voices.items():
        voice.generate(prompts[-1], max_new_tokens=2 * tokens if name == "auto" else 8, **settings)
    actions = {
        name: lambda repeat, voice=voice: timed(voice, prompts[repeat % len(prompts)], tokens, **settings)
        for name, voice in voices.items()
    }
    found = interleave(actions, repeats)
    plain = [each.seconds for each in found["off"]]
    return [
        {"speculate": name, "chain_in_the_end": voices[name].speculation.chain}
        | {"milliseconds": round(1000 * statistics.median(each.seconds for each in mine), 1)}
        | ratio([each.seconds for each in mine], plain)
        | _shares(sum((each.counted for each in mine), Counter()))
        for name, mine in found.items()
    ]


@dataclass(frozen=True)
class Timed:
    """A text: seconds per token after the first, and what was counted while it was said."""

    seconds: float
    counted: Counter[str]


def timed(voice: ComposedVoice, prompt: str, tokens: int, **settings: Any) -> Timed:
    """Time (until the end - until the first token) / tokens after the first, so without reading the prompt."""
    short = seconds(lambda: voice.generate(prompt, max_new_tokens=1, **settings))
    before = _counted(voice)
    long = seconds(lambda: voice.generate(prompt, max_new_tokens=tokens, min_new_tokens=min(tokens, 8), **settings))
    counted = _counted(voice) - before
    return Timed((long - short) / (counted["tokens"] - 1), counted)


def _counted(voice: ComposedVoice) -> Counter[str]:
    """Tokens that a voice has said so far, and calls of each term."""
    report = voice.speculation
    return Counter(
        {name: round(each * report.tokens) for name, each in report.calls.items()}
        | {"tokens": report.tokens, "passes": report.passes}
    )


def _shares(counted: Counter[str]) -> dict[str, Any]:
    tokens, passes = counted.pop("tokens"), counted.pop("passes")
    calls = {name: round(count / tokens, 3) for name, count in counted.items()}
    return {"tokens": tokens, "tokens_per_pass": round(tokens / passes, 2), "calls": calls}


if __name__ == "__main__":
    main()
