"""What four-bit weights gain, and what they lose.

    python benchmarks/quantized.py [--models smollm2-135m,gemma3-270m] [--repeats 8] [--output FILE]

- loss: of plain text, the divergence KL(float32 || other) in nats for each token, the share of tokens whose likeliest
  next token is the same, and the perplexity, for bfloat16 and for `quantization="int4"` in bfloat16.
  The catalogue's models were four bits once (they come as GGUF), in groups of the same 32 inputs, so they lose little.
  `int4, regrouped` is what weights lose that were not: the inputs of each layer are shuffled before they are grouped,
  so that no group is one of the source's. Read it as the loss to expect elsewhere.
- time: seconds of a pass of one token for each row over that of the same engine in bfloat16, in turn, in one process.

Text: this repository's own pages (see TEXTS); a benchmark of rounding, not of a model's ability.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import side_by_side
import torch
import transformers
from side_by_side import interleave, ratio, seconds
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from lmalgebra.models import catalog
from lmalgebra.models.base import LanguageModel, Session
from lmalgebra.models.loading import load, session_of
from lmalgebra.models.native import has_compiler
from lmalgebra.models.quantized import QuantizedLinear, quantize, quantize_linears, restore

TEXTS = [Path(__file__).parents[1] / "docs" / name for name in ("formulas.md", "decoding.md", "command-line.md")]
LENGTH, PIECES = 256, 8
"""The texts are read in pieces of so many tokens, of which so many, from all over, are taken."""

ROWS = (1, 2, 4, 8, 16)
PAST = 64
"""Tokens that each row holds when its passes are timed."""


def main() -> None:
    defaults = {"models": "smollm2-135m,gemma3-270m", "repeats": 8}
    options = side_by_side.options(__doc__, __file__, **defaults).parse_args()
    transformers.logging.disable_progress_bar()
    results = side_by_side.record(options) | {"loss": [], "time": []}
    for name in options.models.split(","):
        print(f"\n== {name}", flush=True)
        results["loss"] += loss(name)
        results["time"] += time(name, options.repeats)
    side_by_side.show("Loss", results["loss"])
    side_by_side.show("Time of a pass over that without quantization", results["time"])
    side_by_side.write(results, options.output)


# loss


def loss(name: str) -> list[dict[str, Any]]:
    exact = load(name, dtype="float32")
    pieces = _pieces(exact)
    expected = [_logprobs(exact.session, piece) for piece in pieces]
    kinds = {
        "float32": lambda: exact.session,
        "bfloat16": lambda: load(name, dtype="bfloat16").session,
        "bfloat16, int4": lambda: load(name, dtype="bfloat16", quantization="int4").session,
        "bfloat16, int4, regrouped": lambda: _regrouped(name),
    }
    return [{"model": name, "weights": kind} | _loss(make(), pieces, expected) for kind, make in kinds.items()]


def _pieces(model: LanguageModel) -> list[list[int]]:
    tokens = model.tokenizer.encode(["\n".join(path.read_text() for path in TEXTS)])
    return [tokens[first : first + LENGTH] for first in range(0, len(tokens) - LENGTH, len(tokens) // PIECES)]


def _logprobs(session: Session, tokens: Sequence[int]) -> Tensor:
    """Log-probabilities after each token, `[tokens, vocabulary]`."""
    row = session.open()
    try:
        return session.extend({row: tokens})[row].float().log_softmax(-1)
    finally:
        session.close(row)


def _loss(session: Session, pieces: list[list[int]], expected: list[Tensor]) -> dict[str, float]:
    divergences, same, losses = [], [], []
    for tokens, exact in zip(pieces, expected, strict=True):
        found = _logprobs(session, tokens)
        divergences.append((exact.exp() * (exact - found)).sum(-1))
        same.append((exact.argmax(-1) == found.argmax(-1)).float())
        losses.append(-found[:-1].gather(1, torch.tensor(tokens[1:])[:, None]).flatten())
    divergence = torch.cat(divergences)
    return {
        "tokens": len(divergence),
        "divergence": round(float(divergence.mean()), 5),
        "greatest": round(float(divergence.max()), 3),
        "same_likeliest": round(float(torch.cat(same).mean()), 4),
        "perplexity": round(math.exp(float(torch.cat(losses).mean())), 3),
    }


def _regrouped(name: str) -> Session:
    """A session over weights that are rounded in groups of shuffled inputs."""
    model = AutoModelForCausalLM.from_pretrained(catalog.path(name), dtype=torch.bfloat16).eval()
    quantize_linears(model)
    sources = dict(AutoModelForCausalLM.from_pretrained(catalog.path(name), dtype=torch.bfloat16).named_modules())
    torch.manual_seed(0)
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, QuantizedLinear):
                linear = sources[f"{parent_name}.{child_name}"]
                linear.weight = nn.Parameter(_rounded_in_other_groups(linear.weight.detach()), requires_grad=False)
                setattr(parent, child_name, linear)
    return session_of(model, name)


def _rounded_in_other_groups(weight: Tensor) -> Tensor:
    order = torch.randperm(weight.shape[1])
    return restore(*quantize(weight[:, order]))[:, order.argsort()]


# time


def time(name: str, repeats: int) -> list[dict[str, Any]]:
    engines = ("torch", "native") if has_compiler() and name.startswith("smollm2") else ("torch",)
    rows = []
    for engine in engines:
        sessions = {kind: load(name, dtype="bfloat16", engine=engine, quantization=kind).session for kind in KINDS}
        for count in ROWS:
            rows.append({"model": name, "engine": engine, "rows": count} | _times(sessions, count, repeats))
    return rows


KINDS = ("none", "int4")


def _times(sessions: dict[str, Session], count: int, repeats: int) -> dict[str, float]:
    opened = {kind: [session.open([100] * PAST) for _ in range(count)] for kind, session in sessions.items()}
    for kind, session in sessions.items():
        session.extend({row: [100] for row in opened[kind]})

    def step(kind: str) -> float:
        return seconds(lambda: sessions[kind].extend({row: [100] for row in opened[kind]}))

    found = interleave({kind: lambda _, kind=kind: min(step(kind) for _ in range(4)) for kind in KINDS}, repeats)
    for kind, session in sessions.items():
        for row in opened[kind]:
            session.close(row)
    return {"milliseconds": round(1000 * statistics.median(found["int4"]), 2)} | ratio(found["int4"], found["none"])


if __name__ == "__main__":
    main()
