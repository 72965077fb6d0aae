"""How far a step is from the speed of memory, and where the rest of its time goes.

    python benchmarks/bandwidth.py [--repeats 12] [--tokens 16] [--dtype bfloat16] [--output benchmarks/bandwidth.json]

A pass of one token for each row must read every weight and every cached key and value once. These bytes over the
pass's time, divided by the bandwidth of copying memory (bytes read and written), measured beside it, is the share of
the limit that is reached; copying counts two ways, so a share can be above 1 where reading alone is faster. Of a
step's time, the linear layers and the output layer are measured alone on the same shapes, attention inside the pass,
formula and drawing as what a voice's step takes beyond a bare pass; the rest is norms, rotary positions, gates and
Python's calls. Each engine that this machine has is measured, and Transformers' `generate` of one term beside it.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import side_by_side
import torch
from side_by_side import FEW, Reference, interleave, seconds, speak, spread
from torch import nn

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models import fused
from lmalgebra.models.native import NativeLayer, has_compiler
from lmalgebra.models.packed_linear import SMALLEST_PASS

BATCHES = (1, 8)
TERMS = ("1 term", "2 terms", "3 terms")
COPIED = 1 << 28
"""Bytes of the array whose copying is measured."""


def main() -> None:
    options = side_by_side.options(__doc__, __file__, repeats=12, tokens=16, dtype="bfloat16").parse_args()
    reference = Reference(options.dtype)
    engines = ("torch", "native") if has_compiler() else ("torch",)
    steps = [step for engine in engines for step in _steps(engine, options.dtype)]
    actions: dict[Any, Callable[[int], dict[str, float]]] = {"copying": _copying()}
    for batch in BATCHES:
        said = lambda tokens, batch=batch: reference.plain(batch, tokens)  # noqa: E731
        actions["Transformers", batch] = lambda _, said=said: {"step": _per_token(said, options.tokens)}
    actions |= {step.name: lambda _, step=step: step.measure(options.tokens) for step in steps}
    for action in actions.values():
        action(0)  # first calls compile kernels
    found = interleave(actions, options.repeats)
    results = side_by_side.record(options) | {
        "copying_gigabytes_per_second": spread([each["gigabytes"] for each in found["copying"]]),
        "bandwidth": [_bandwidth(step, found, options.tokens) for step in steps],
        "shares_of_a_step": [_shares(step, found) for step in steps],
        "step_over_transformers_1_term": [_over_transformers(step, found) for step in steps],
    }
    for title in ("bandwidth", "shares_of_a_step", "step_over_transformers_1_term"):
        side_by_side.show(title.replace("_", " ").capitalize(), results[title])
    side_by_side.write(results, options.output)


class Step:
    """A voice that says a token for each prompt of a batch, and the bare pass in it."""

    def __init__(self, engine: str, terms: str, batch: int, voice: ComposedVoice) -> None:
        self.name = (engine, terms, batch)
        self.batch, self.voice = batch, voice
        self.session = voice.loaded.sessions[voice.loaded.plan.leaves[0]]
        self.contexts = side_by_side.contexts(voice, batch)
        self.linears = [module for module in self.session.network.modules() if _is_linear(module)]
        self.weights = sum(each.in_features * each.out_features for each in self.linears)

    def cached(self, tokens: int) -> int:
        """Tokens in the cache in the middle of the measured passes, over all rows."""
        return sum(map(len, self.contexts)) + len(self.contexts) * tokens // 2

    def measure(self, tokens: int) -> dict[str, float]:
        """Seconds of one step, and of its parts."""
        found = self._passes(tokens)
        for name, part in (("linears", self.linears[:-1]), ("output layer", self.linears[-1:])):
            found[name] = self._alone(part)
        found["step"] = _per_token(lambda count: speak(self.voice, self.batch, count), tokens)
        return found

    def _passes(self, tokens: int) -> dict[str, float]:
        rows = [self.session.open() for _ in self.contexts]
        try:
            self.session.extend(dict(zip(rows, self.contexts, strict=True)), dict.fromkeys(rows, 1))
            alone = [seconds(lambda: self.session.extend({row: [100] for row in rows})) for _ in range(tokens)]
            with _attention_timed() as spent:
                for _ in range(tokens):
                    self.session.extend({row: [100] for row in rows})
        finally:
            for row in rows:
                self.session.close(row)
        return {"pass": statistics.mean(alone), "attention": sum(spent) / tokens}

    @torch.inference_mode()
    def _alone(self, linears: list[nn.Module]) -> float:
        tokens = max(SMALLEST_PASS, len(self.contexts))
        inputs = [torch.zeros(1, tokens, each.in_features, dtype=self.session.network.dtype) for each in linears]
        return seconds(lambda: [linear(given) for linear, given in zip(linears, inputs, strict=True)])


def _steps(engine: str, dtype: str) -> list[Step]:
    model = la.model(side_by_side.WEIGHTS, dtype=dtype, engine=engine)
    formulas = side_by_side.formulas(model)
    voices = {terms: la.voice(formulas[terms]) for terms in TERMS}
    return [Step(engine, terms, batch, voices[terms]) for batch in BATCHES for terms in TERMS]


def _is_linear(module: nn.Module) -> bool:
    return hasattr(module, "out_features")


def _per_token(say: Callable[[int], None], tokens: int) -> float:
    return (seconds(lambda: say(tokens + FEW)) - seconds(lambda: say(FEW))) / tokens


@contextmanager
def _attention_timed() -> Iterator[list[float]]:
    """The seconds of each layer's attention while this lasts."""
    spent: list[float] = []
    places = [(fused, "attend_packed"), (NativeLayer, "_attend")]
    plain = [getattr(place, name) for place, name in places]

    def timed(attend: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*given: Any) -> Any:
            result = None

            def run() -> None:
                nonlocal result
                result = attend(*given)

            spent.append(seconds(run))
            return result

        return wrapper

    try:
        for (place, name), attend in zip(places, plain, strict=True):
            setattr(place, name, timed(attend))
        yield spent
    finally:
        for (place, name), attend in zip(places, plain, strict=True):
            setattr(place, name, attend)


def _copying() -> Callable[[int], dict[str, float]]:
    source = torch.ones(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda _: {"gigabytes": 2 * COPIED / 1e9 / seconds(lambda: target.copy_(source))}


def _row(step: Step) -> dict[str, Any]:
    engine, terms, batch = step.name
    return {"engine": engine, "terms": terms, "batch": batch}


def _bandwidth(step: Step, found: dict[Any, list[dict[str, float]]], tokens: int) -> dict[str, Any]:
    """Bytes of a pass over its time, and over the copying of the same repeat."""
    config, size = step.session.network.config, step.session.network.dtype.itemsize
    width = config.head_dim * config.num_key_value_heads
    cached = 2 * config.num_hidden_layers * width * step.cached(tokens)
    megabytes = (step.weights + cached) * size / 1e6
    rates = [megabytes / 1e3 / each["pass"] for each in found[step.name]]
    shares = [rate / copied["gigabytes"] for rate, copied in zip(rates, found["copying"], strict=True)]
    return _row(step) | {
        "megabytes": round(megabytes),
        "milliseconds": round(1e3 * statistics.median(each["pass"] for each in found[step.name]), 2),
        "gigabytes_per_second": round(statistics.median(rates), 2),
        "share_of_copying": spread(shares),
    }


def _shares(step: Step, found: dict[Any, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of each part's share of the step in the same repeat."""
    shares: dict[str, list[float]] = {}
    for each in found[step.name]:
        parts = {name: each[name] for name in ("linears", "output layer", "attention")}
        parts["norms, rotary, gates and calls"] = each["pass"] - sum(parts.values())
        parts["formula, drawing, text"] = each["step"] - each["pass"]
        for name, part in parts.items():
            shares.setdefault(name, []).append(part / each["step"])
    return _row(step) | {name: round(statistics.median(part), 3) for name, part in shares.items()}


def _over_transformers(step: Step, found: dict[Any, list[dict[str, float]]]) -> dict[str, Any]:
    pairs = zip(found[step.name], found["Transformers", step.batch], strict=True)
    each = [ours["step"] / theirs["step"] for ours, theirs in pairs]
    milliseconds = round(1e3 * statistics.median(ours["step"] for ours in found[step.name]), 2)
    return _row(step) | {"milliseconds": milliseconds, **spread(each)}


if __name__ == "__main__":
    main()
