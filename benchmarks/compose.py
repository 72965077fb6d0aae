"""What composing costs: formulas of one set of weights against one term, and against Transformers itself.

    python benchmarks/compose.py [--repeats 12] [--tokens 16] [--dtype bfloat16] [--output benchmarks/compose.json]

Everything compared runs in turn within each repeat, in one process, and each repeat begins at another run, so that a
machine whose speed drifts slows all alike; a printed ratio is the median of the repeats' ratios. Time per token is
(time of N + 1 tokens - time of 1 token) / N, so reading the prompt is not part of it. The peak is the process's
resident memory at its highest during a run, with the weights of both libraries in it.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

import lmalgebra as la
from lmalgebra.api import shared_models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.context import context_tokens, conversation
from lmalgebra.models import catalog

PROMPT = "Describe a city at night"
GUIDANCE = 1.5
SAMPLES = 25


@dataclass(frozen=True)
class Run:
    """Something that says `tokens` tokens after each prompt of a batch."""

    name: str
    batch: int
    speak: Callable[[int], None]


def main() -> None:
    options = _options()
    model = la.model("smollm2-135m", dtype=options.dtype)
    print(f"Loading {model.source} in {options.dtype}, for us and for Transformers ...", flush=True)
    voices = _voices(model)
    reference = Reference(options.dtype)
    runs = [run for batch in (1, 8) for run in _runs(voices, reference, batch)]
    seconds, peaks = measure(runs, options.tokens, options.repeats)
    results = {
        "machine": {"processor": _processor(), "threads": torch.get_num_threads(), "system": platform.system()},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "lmalgebra": la.__version__},
        "settings": {"repeats": options.repeats, "tokens": options.tokens, "dtype": options.dtype},
        "per_token": _per_token(runs, seconds, peaks),
        "ratios": _ratios(seconds),
        "prefill": prefill(voices["1 term"], options.repeats),
    }
    show(results)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nWritten to {options.output}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


def _voices(model: la.Model) -> dict[str, ComposedVoice]:
    """Formulas of 1 to 4 terms that differ in their system prompts, so that rows are ragged."""
    base, formal, child, poet = (
        model.term(name=name, system=system)
        for name, system in (
            ("base", "You are a helpful assistant."),
            ("formal", "You answer in formal, objective language."),
            ("child", "You explain everything so that a child of six would enjoy it."),
            ("poet", "You are a poet."),
        )
    )
    formulas = {
        "1 term": base,
        "2 terms": base + GUIDANCE * (formal - base),
        "3 terms": base + 0.6 * (formal - child),
        "4 terms": base + 0.6 * (formal - child) + 0.2 * la.tilt(poet),
    }
    return {name: la.voice(formula, temperature=0) for name, formula in formulas.items()}


def prompts(batch: int) -> list[str]:
    """Prompts of different lengths."""
    return [PROMPT + ", and in the morning" * i + "." for i in range(batch)]


class Reference:
    """The same weights through Transformers' `generate`, as a user would call it."""

    def __init__(self, dtype: str) -> None:
        folder = catalog.path("smollm2-135m")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def encode(self, system: str, batch: int) -> dict[str, torch.Tensor]:
        chats = [
            [{"role": "system", "content": system}, {"role": "user", "content": prompt}] for prompt in prompts(batch)
        ]
        texts = [self.tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
        return self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def plain(self, batch: int, tokens: int) -> None:
        inputs = self.encode("You are a helpful assistant.", batch)
        self._generate(inputs, tokens)

    def guided(self, batch: int, tokens: int) -> None:
        """Classifier-free guidance: the formula `base + 1.5 * (formal - base)`."""
        inputs = self.encode("You answer in formal, objective language.", batch)
        negative = self.encode("You are a helpful assistant.", batch)
        self._generate(
            inputs,
            tokens,
            guidance_scale=GUIDANCE,
            negative_prompt_ids=negative["input_ids"],
            negative_prompt_attention_mask=negative["attention_mask"],
        )

    def _generate(self, inputs: dict[str, torch.Tensor], tokens: int, **options: object) -> None:
        with torch.inference_mode():
            out = self.model.generate(
                **inputs, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, **options
            )
        if out.shape[1] != inputs["input_ids"].shape[1] + tokens:
            raise RuntimeError("Transformers said fewer tokens than asked")


def _runs(voices: dict[str, ComposedVoice], reference: Reference, batch: int) -> list[Run]:
    ours = [
        Run(name, batch, lambda tokens, voice=voice: _speak(voice, batch, tokens)) for name, voice in voices.items()
    ]
    plain = Run("Transformers, 1 term", batch, lambda tokens: reference.plain(batch, tokens))
    guided = Run("Transformers, 2 terms", batch, lambda tokens: reference.guided(batch, tokens))
    runs = [plain, *ours[:2], guided, *ours[2:]]  # what is compared runs side by side
    runs += [
        Run(f"bare pass, {name}", batch, lambda tokens, voice=voice: _bare(voice, batch, tokens))
        for name, voice in voices.items()
    ]
    return runs


def _speak(voice: ComposedVoice, batch: int, tokens: int) -> None:
    for sample in voice.generate_many(prompts(batch), max_new_tokens=tokens, min_new_tokens=tokens):
        if len(sample.tokens) != tokens:
            raise RuntimeError("the voice said fewer tokens than asked")


def _bare(voice: ComposedVoice, batch: int, tokens: int) -> None:
    """The session alone on the same contexts: a pass of one token for each row, nothing evaluated or drawn."""
    session, models = (
        voice.decoder.sessions[0],
        {leaf: shared_models(leaf.description.model) for leaf in voice.plan.leaves},
    )
    contexts = [
        context_tokens(leaf, model, conversation(prompt)) for leaf, model in models.items() for prompt in prompts(batch)
    ]
    rows = [session.open() for _ in contexts]
    try:
        session.extend(dict(zip(rows, contexts, strict=True)), logits="last")
        for _ in range(tokens - 1):
            session.extend({row: [100] for row in rows}, logits="last")
    finally:
        for row in rows:
            session.close(row)


def measure(runs: list[Run], tokens: int, repeats: int) -> tuple[dict[tuple[str, int], list[float]], dict]:
    """Seconds per token of each run in each repeat, and its peak resident memory in megabytes."""
    seconds: dict[tuple[str, int], list[float]] = {(run.name, run.batch): [] for run in runs}
    peaks: dict[tuple[str, int], float] = {}
    for run in runs:
        run.speak(2)  # first calls compile kernels
    for repeat in range(repeats):
        begin = repeat * len(runs) // repeats
        for run in runs[begin:] + runs[:begin]:
            _reset_peak()
            short, long = _seconds(run, 1), _seconds(run, tokens + 1)
            seconds[run.name, run.batch].append((long - short) / tokens)
            peaks[run.name, run.batch] = max(_peak(), peaks.get((run.name, run.batch), 0.0))
        print(f"repeat {repeat + 1} of {repeats} done", flush=True)
    return seconds, peaks


def _seconds(run: Run, tokens: int) -> float:
    start = time.perf_counter()
    run.speak(tokens)
    return time.perf_counter() - start


def prefill(voice: ComposedVoice, repeats: int) -> dict[str, float]:
    """25 samples of one prompt against 25 separate prompts of the same length: what reading the prompt once saves."""
    long = " ".join([PROMPT] * 40)
    tokens = len(voice.decoder.tokenizer.encode([long]))
    shared, separate = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        voice.generate(long, samples=SAMPLES, max_new_tokens=1, temperature=1)
        middle = time.perf_counter()
        list(voice.generate_many([f"{i} {long}" for i in range(10, 10 + SAMPLES)], max_new_tokens=1, temperature=1))
        shared.append(middle - start)
        separate.append(time.perf_counter() - middle)
    return {
        "prompt_tokens": tokens,
        "samples": SAMPLES,
        "shared_seconds": statistics.median(shared),
        "separate_seconds": statistics.median(separate),
        "separate_over_shared": statistics.median(b / a for a, b in zip(shared, separate, strict=True)),
    }


def _per_token(runs: list[Run], seconds: dict, peaks: dict) -> list[dict[str, object]]:
    return [
        {
            "run": run.name,
            "batch": run.batch,
            "milliseconds": round(1000 * statistics.median(seconds[run.name, run.batch]), 2),
            "peak_megabytes": round(peaks[run.name, run.batch]),
        }
        for run in runs
    ]


def _ratios(seconds: dict[tuple[str, int], list[float]]) -> list[dict[str, object]]:
    """Medians over the repeats of one run's time over another's in the same repeat."""
    pairs = [(f"{n} terms", "1 term") for n in (2, 3, 4)]
    pairs += [(f"bare pass, {n} terms", "bare pass, 1 term") for n in (2, 3, 4)]
    pairs += [("Transformers, 2 terms", "2 terms"), ("Transformers, 1 term", "1 term")]
    pairs += [(name, f"bare pass, {name}") for name in ("1 term", "2 terms", "3 terms", "4 terms")]
    found = []
    for batch in (1, 8):
        for over, under in pairs:
            each = [a / b for a, b in zip(seconds[over, batch], seconds[under, batch], strict=True)]
            found.append(
                {
                    "batch": batch,
                    "ratio": f"{over} / {under}",
                    "median": round(statistics.median(each), 3),
                    "min": round(min(each), 3),
                    "max": round(max(each), 3),
                }
            )
    return found


def show(results: dict) -> None:
    print(f"\n{'run':<24}{'batch':>6}{'ms/token':>10}{'peak MB':>9}")
    for row in results["per_token"]:
        print(f"{row['run']:<24}{row['batch']:>6}{row['milliseconds']:>10.1f}{row['peak_megabytes']:>9}")
    print(f"\n{'ratio':<46}{'batch':>6}{'median':>8}{'min':>7}{'max':>7}")
    for row in results["ratios"]:
        print(f"{row['ratio']:<46}{row['batch']:>6}{row['median']:>8.2f}{row['min']:>7.2f}{row['max']:>7.2f}")
    shared = results["prefill"]
    print(
        f"\n{shared['samples']} samples of one prompt of {shared['prompt_tokens']} tokens: "
        f"{shared['shared_seconds']:.2f} s to the first tokens; {shared['samples']} separate prompts: "
        f"{shared['separate_seconds']:.2f} s ({shared['separate_over_shared']:.1f} times as long)."
    )


def _reset_peak() -> None:
    """Linux only; elsewhere the peak is that of the whole process so far."""
    if platform.system() == "Linux":
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Peak resident memory in megabytes (10^6 bytes)."""
    if platform.system() == "Linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _processor() -> str:
    capabilities = torch.cpu.get_capabilities()
    return f"{capabilities.get('cpu_name', platform.processor())}, bf16 {capabilities.get('avx512_bf16', False)}"


if __name__ == "__main__":
    main()
