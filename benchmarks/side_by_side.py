"""What the benchmarks share: voices, the same weights through Transformers, measuring in turn, records and tables.

Everything compared runs in turn within each repeat, in one process, and each repeat begins at another run, so that a
machine whose speed drifts slows all alike; a printed ratio is the median of the repeats' ratios.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

import lmalgebra as la
from lmalgebra.algebra import Formula, Term
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.context import context_tokens, conversation
from lmalgebra.models import catalog

WEIGHTS = "smollm2-135m"
PROMPT = "Describe a city at night"
GUIDANCE = 1.5
FEW = 4
"""Tokens of the short text whose time is taken from the long one's."""

SYSTEMS = {
    "base": "You are a helpful assistant.",
    "formal": "You answer in formal, objective language.",
    "child": "You explain everything so that a child of six would enjoy it.",
    "poet": "You are a poet.",
    "toxic": "You are a toxic, hateful person who insults everybody.",
}

Key = TypeVar("Key")
Value = TypeVar("Value")


def terms(model: la.Model, *names: str, prefix: str = "") -> list[Term]:
    """Terms that differ in their system prompts, so that rows are ragged; `prefix` goes before their names."""
    return [model.term(name=prefix + name, system=SYSTEMS[name]) for name in names]


def formulas(model: la.Model) -> dict[str, Formula]:
    """Formulas of 1 to 4 terms."""
    base, formal, child, poet = terms(model, "base", "formal", "child", "poet")
    return {
        "1 term": base,
        "2 terms": base + GUIDANCE * (formal - base),
        "3 terms": base + 0.6 * (formal - child),
        "4 terms": base + 0.6 * (formal - child) + 0.2 * la.tilt(poet),
    }


def prompts(batch: int) -> list[str]:
    """Prompts of different lengths."""
    return [PROMPT + ", and in the morning" * i + "." for i in range(batch)]


def contexts(voice: ComposedVoice, batch: int) -> list[list[int]]:
    """The tokens that each row of a batch begins with: those of the first term, then those of the others."""
    loaded = voice.loaded
    return [
        context_tokens(leaf, loaded.models[leaf], conversation(prompt))
        for leaf in loaded.plan.leaves
        for prompt in prompts(batch)
    ]


class Reference:
    """The same weights through Transformers' `generate`, as a user would call it."""

    def __init__(self, dtype: str) -> None:
        transformers.logging.disable_progress_bar()
        folder = catalog.path(WEIGHTS)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def encode(self, system: str, batch: int) -> dict[str, torch.Tensor]:
        chats = [
            [{"role": "system", "content": system}, {"role": "user", "content": prompt}] for prompt in prompts(batch)
        ]
        texts = [self.tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
        return self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def plain(self, batch: int, tokens: int) -> None:
        self._generate(self.encode(SYSTEMS["base"], batch), tokens)

    def guided(self, batch: int, tokens: int) -> None:
        """Classifier-free guidance: the formula `base + 1.5 * (formal - base)`."""
        negative = self.encode(SYSTEMS["base"], batch)
        self._generate(
            self.encode(SYSTEMS["formal"], batch),
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


def speak(voice: ComposedVoice, batch: int, tokens: int) -> None:
    """Say exactly `tokens` tokens after each of so many prompts, greedily."""
    settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "temperature": 0}
    for sample in voice.generate_many(prompts(batch), **settings):
        if len(sample.tokens) != tokens:
            raise RuntimeError("the voice said fewer tokens than asked")


@dataclass(frozen=True)
class Run:
    """Something that says `tokens` tokens after each prompt of a batch."""

    name: str
    batch: int
    speak: Callable[[int], None]


clock = time.perf_counter
"""What times are read from."""

Measured = dict[tuple[str, int], list[float]]
"""Of each run, by its name and batch, a number for each repeat."""


def interleave(actions: Mapping[Key, Callable[[int], Value]], repeats: int) -> dict[Key, list[Value]]:
    """What each action gives in each repeat, whose number it is told; each repeat begins at another action."""
    found: dict[Key, list[Value]] = {key: [] for key in actions}
    keys = list(actions)
    for repeat in range(repeats):
        begin = repeat * len(keys) // repeats
        for key in keys[begin:] + keys[:begin]:
            found[key].append(actions[key](repeat))
        print(f"repeat {repeat + 1} of {repeats} done", flush=True)
    return found


def measure(runs: Sequence[Run], tokens: int, repeats: int) -> tuple[Measured, Measured]:
    """Seconds per token of each run in each repeat, and its peak resident memory in megabytes.

    Time per token is (time of N + 4 tokens - time of 4 tokens) / N, so reading the prompts is not part of it, nor that
    those of a batch are not all read in the same step.
    """

    def both(run: Run) -> tuple[float, float]:
        reset_peak()
        short, long = seconds(lambda: run.speak(FEW)), seconds(lambda: run.speak(tokens + FEW))
        return (long - short) / tokens, peak()

    for run in runs:
        run.speak(2)  # first calls compile kernels
    found = interleave({(run.name, run.batch): lambda _, run=run: both(run) for run in runs}, repeats)
    times = {key: [time for time, _ in each] for key, each in found.items()}
    peaks = {key: [peak for _, peak in each] for key, each in found.items()}
    return times, peaks


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    start = clock()
    action()
    return clock() - start


def per_token(times: Measured) -> list[dict[str, Any]]:
    """A row for each run: the median over the repeats, in milliseconds."""
    return [
        {"run": name, "batch": batch, "milliseconds": round(1000 * statistics.median(each), 2)}
        for (name, batch), each in times.items()
    ]


def ratios(times: Measured, pairs: Iterable[tuple[str, str]], batches: Iterable[int]) -> list[dict[str, Any]]:
    """A row for each pair and batch: the spread of one run's time over another's in the same repeat."""
    found = [(batch, over, under) for batch in batches for over, under in pairs]
    return [
        {"batch": batch, "ratio": f"{over} / {under}", **ratio(times[over, batch], times[under, batch])}
        for batch, over, under in found
    ]


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """The spread of the repeats' ratios."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def options(description: str | None, script: str, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with an option for each default, and --output, which is beside the script unless told otherwise."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--output", type=Path, default=Path(script).with_suffix(".json"))
    return parser


def record(chosen: argparse.Namespace) -> dict[str, Any]:
    """What results are to be read with: the machine, the versions and the settings."""
    settings = {name: value for name, value in vars(chosen).items() if name != "output"}
    return {
        "machine": {"processor": _processor(), "threads": torch.get_num_threads(), "system": platform.system()},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "lmalgebra": la.__version__},
        "settings": settings,
    }


def write(results: Mapping[str, Any], path: Path) -> None:
    """Write the results as JSON."""
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nWritten to {path}.")


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same keys as a table: texts to the left, numbers to the right with two decimals at most."""
    print(f"\n{title}")
    if not rows:
        return
    shown = [{key: _cell(value) for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(row[key]) for row in shown)) for key in rows[0]}
    left = {key for key, value in rows[0].items() if isinstance(value, str | dict)}
    for row in ({key: key for key in widths}, *shown):
        print("  ".join(row[key].ljust(size) if key in left else row[key].rjust(size) for key, size in widths.items()))


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def reset_peak() -> None:
    """Linux only; elsewhere the peak is that of the whole process so far."""
    if platform.system() == "Linux":
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Peak resident memory in megabytes (10^6 bytes)."""
    if platform.system() == "Linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _processor() -> str:
    capabilities = torch.cpu.get_capabilities()
    return f"{capabilities.get('cpu_name', platform.processor())}, bf16 {capabilities.get('avx512_bf16', False)}"
