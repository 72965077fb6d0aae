"""What composing costs: formulas of one set of weights against one term, and against Transformers itself.

    python benchmarks/compose.py [--repeats 10] [--tokens 16] [--dtype bfloat16] [--output benchmarks/compose.json]

Everything compared runs in turn within each repeat, in one process, and each repeat begins at another run, so that a
machine whose speed drifts slows all alike; a printed ratio is the median of the repeats' ratios. Time per token is
(time of N + 4 tokens - time of 4 tokens) / N, so reading the prompts is not part of it, nor that those of a batch are
not all read in the same step. The peak is the process's resident memory at its highest during a run, with the weights
of both libraries in it. What sharing a prompt saves is measured in 6 repeats at most.
"""

import statistics
from typing import Any

import side_by_side
from side_by_side import PROMPT, Measured, Reference, Run, seconds, speak

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice

SAMPLES = 25
BATCHES = (1, 8)


def main() -> None:
    options = side_by_side.options(__doc__, __file__, repeats=10, tokens=16, dtype="bfloat16").parse_args()
    model = la.model(side_by_side.WEIGHTS, dtype=options.dtype)
    print(f"Loading {model.source} in {options.dtype}, for us and for Transformers ...", flush=True)
    voices = {name: la.voice(formula) for name, formula in side_by_side.formulas(model).items()}
    reference = Reference(options.dtype)
    runs = [run for batch in BATCHES for run in _runs(voices, reference, batch)]
    times, peaks = side_by_side.measure(runs, options.tokens, options.repeats)
    results = side_by_side.record(options) | {
        "per_token": _per_token(times, peaks),
        "ratios": side_by_side.ratios(times, _pairs(), BATCHES),
        "prefill": prefill(voices["1 term"], min(options.repeats, 6)),
    }
    show(results)
    side_by_side.write(results, options.output)


def _runs(voices: dict[str, ComposedVoice], reference: Reference, batch: int) -> list[Run]:
    ours = [Run(name, batch, lambda tokens, voice=voice: speak(voice, batch, tokens)) for name, voice in voices.items()]
    plain = Run("Transformers, 1 term", batch, lambda tokens: reference.plain(batch, tokens))
    guided = Run("Transformers, 2 terms", batch, lambda tokens: reference.guided(batch, tokens))
    runs = [plain, *ours[:2], guided, *ours[2:]]  # what is compared runs side by side
    runs += [
        Run(f"bare pass, {name}", batch, lambda tokens, voice=voice: _bare(voice, batch, tokens))
        for name, voice in voices.items()
    ]
    return runs


def _bare(voice: ComposedVoice, batch: int, tokens: int) -> None:
    """The session alone on the same contexts: a pass of one token for each row, nothing evaluated or drawn."""
    session = voice.loaded.sessions[voice.loaded.plan.leaves[0]]
    contexts = side_by_side.contexts(voice, batch)
    rows = [session.open() for _ in contexts]
    try:
        session.extend(dict(zip(rows, contexts, strict=True)), dict.fromkeys(rows, 1))
        for _ in range(tokens - 1):
            session.extend({row: [100] for row in rows})
    finally:
        for row in rows:
            session.close(row)


def prefill(voice: ComposedVoice, repeats: int) -> dict[str, float]:
    """25 samples of one prompt against 25 separate prompts of the same length: what reading the prompt once saves."""
    long = " ".join([PROMPT] * 40)
    tokens = len(voice.loaded.tokenizer.encode([long]))
    separately = [f"{i} {long}" for i in range(10, 10 + SAMPLES)]
    shared, separate = [], []
    for _ in range(repeats):
        shared.append(seconds(lambda: voice.generate(long, samples=SAMPLES, max_new_tokens=1)))
        separate.append(seconds(lambda: list(voice.generate_many(separately, max_new_tokens=1))))
    return {
        "prompt_tokens": tokens,
        "samples": SAMPLES,
        "shared_seconds": statistics.median(shared),
        "separate_seconds": statistics.median(separate),
        "separate_over_shared": statistics.median(b / a for a, b in zip(shared, separate, strict=True)),
    }


def _per_token(times: Measured, peaks: Measured) -> list[dict[str, Any]]:
    rows = side_by_side.per_token(times)
    return [row | {"peak_megabytes": round(max(peaks[row["run"], row["batch"]]))} for row in rows]


def _pairs() -> list[tuple[str, str]]:
    """Runs whose times are compared, one over the other."""
    pairs = [(f"{n} terms", "1 term") for n in (2, 3, 4)]
    pairs += [(f"bare pass, {n} terms", "bare pass, 1 term") for n in (2, 3, 4)]
    pairs += [("Transformers, 2 terms", "2 terms"), ("Transformers, 1 term", "1 term")]
    return pairs + [(name, f"bare pass, {name}") for name in ("1 term", "2 terms", "3 terms", "4 terms")]


def show(results: dict[str, Any]) -> None:
    side_by_side.show("Time per token and peak memory", results["per_token"])
    side_by_side.show("Ratios of times per token", results["ratios"])
    shared = results["prefill"]
    print(
        f"\n{shared['samples']} samples of one prompt of {shared['prompt_tokens']} tokens: "
        f"{shared['shared_seconds']:.2f} s to the first tokens; {shared['samples']} separate prompts: "
        f"{shared['separate_seconds']:.2f} s ({shared['separate_over_shared']:.1f} times as long)."
    )


if __name__ == "__main__":
    main()
