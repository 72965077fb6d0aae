"""What is lost where a server tells only the likeliest tokens of a position.

    llama-server -m SmolLM2-135M-Instruct.Q4_1.gguf --port 8080 &       # any server of this file
    python benchmarks/remote.py [--address http://127.0.0.1:8080/v1] [--model smollm2-135m] [--output FILE]

Over tokens that the model itself has drawn, for each number of tokens told: the share of the probability that they
have, in the mean and at least; KL(here || remote) in nats for each token, where `here` is llama.cpp's session of the
same file; and the mean and largest difference of the log-probabilities that are told. The last line compares `here`
with float32: so much llama.cpp's rounding costs by itself, which differs from build to build.
"""

from collections.abc import Sequence
from typing import Any

import side_by_side
import torch
from torch import Tensor

import lmalgebra as la
from lmalgebra.distributions import fill_unseen
from lmalgebra.models.base import LanguageModel

PROMPTS = ("What is the moon?", "Write a short, formal letter about bread.", "Tell me a story about a lost dog.")
TOKENS = 48
"""Of each answer."""

COUNTS = (5, 20, 100, 500)


def main() -> None:
    defaults = {"address": "http://127.0.0.1:8080/v1", "model": "smollm2-135m"}
    options = side_by_side.options(__doc__, __file__, **defaults).parse_args()
    models = la.Models(lambda sentence: None)
    here = la.model(options.model, engine="llamacpp")
    rows = _answers(here, models)
    expected = _logprobs(models(here), rows)
    exact = _logprobs(models(la.model(options.model, engine="torch", dtype="float32")), rows)
    remote = models(la.model(options.address, tokenizer=options.model, top_logprobs=max(COUNTS)))
    found = _logprobs(remote, rows)
    results: dict[str, Any] = side_by_side.record(options) | {"truth": []}
    for count in COUNTS:
        told = found.topk(count)
        cut = torch.stack([_cut(*each, found.shape[1]) for each in zip(told.indices, told.values, strict=True)])
        mass = told.values.exp().sum(-1)
        shares = {"mean_share": round(float(mass.mean()), 4), "least_share": round(float(mass.min()), 4)}
        results["truth"].append({"told": count} | shares | _loss(expected, cut, told.indices))
    all_here = {"told": "here, to float32", "mean_share": 1.0, "least_share": 1.0}
    results["truth"].append(all_here | _loss(exact, expected, expected.topk(max(COUNTS)).indices))
    side_by_side.show("Truth", results["truth"])
    side_by_side.write(results, options.output)


def _answers(model: la.Model, models: la.Models) -> list[list[int]]:
    """Rows that are read: each prompt and what the model itself has said after it."""
    voice = la.voice(model.term(), models=models, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    tokenizer, rows = models(model).tokenizer, []
    for prompt in PROMPTS:
        asked = tokenizer.chat([{"role": "user", "content": prompt}])
        rows.append([*tokenizer.encode([asked], start=False), *voice.generate(prompt).samples[0].tokens])
    return rows


def _logprobs(model: LanguageModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities of the rows' last `TOKENS` tokens, `[tokens, vocabulary]`."""
    session, found = model.session, []
    for row in rows:
        opened = session.open(row[: -TOKENS - 1])
        logits = session.extend({opened: row[-TOKENS - 1 : -1]})[opened]
        found.append(logits.float().log_softmax(-1).clone())
        session.close(opened)
    return torch.cat(found)


def _cut(tokens: Tensor, logprobs: Tensor, size: int) -> Tensor:
    """What a remote makes of these, as the session does."""
    known = dict(zip(tokens.tolist(), logprobs.tolist(), strict=True))
    return fill_unseen(known, float(logprobs.min().exp()), size).log_softmax(-1)


def _loss(expected: Tensor, found: Tensor, told: Tensor) -> dict[str, float]:
    difference = (expected - found).gather(1, told).abs()
    return {
        "divergence": round(float((expected.exp() * (expected - found)).sum(-1).mean()), 4),
        "mean_difference": round(float(difference.mean()), 3),
        "largest_difference": round(float(difference.max()), 2),
    }


if __name__ == "__main__":
    main()
