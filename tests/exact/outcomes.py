"""Every random outcome of the real engine, with its probability: texts have a law that is summed, not sampled.

A sample makes its random decisions one after another; a `Path` prescribes the first of them and takes the first
possible outcome of all that follow, so that each other outcome of those is a path still to be walked. All paths that
are known run together, as samples of one prompt; the engine itself is not changed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from reference import FORBIDDEN, evaluate_text
from torch import Tensor

from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.decoding import ComposedVoice, sample, step
from lmalgebra.decoding.request import Sample
from lmalgebra.models.table import TableModel

NEGLIGIBLE = 1e-15
"""Outcomes that are less likely are rounding: a difference of two equal laws, for instance."""

AT_ONCE = 500

Law = dict[tuple[str, str], float]
"""The probability of each text together with why it ends."""


class Path:
    """One way through the tree of outcomes: `siblings` begin as it does and leave it at one decision."""

    def __init__(self, prescribed: Sequence[int]) -> None:
        self._prescribed = prescribed
        self._taken: list[int] = []
        self.probability = 1.0
        self.siblings: list[list[int]] = []

    def choose(self, probabilities: Sequence[float]) -> int:
        """One of the outcomes that are possible."""
        depth = len(self._taken)
        if depth < len(self._prescribed):
            outcome = self._prescribed[depth]
        else:
            outcome, *others = [each for each, p in enumerate(probabilities) if p > NEGLIGIBLE]
            self.siblings += [[*self._taken, other] for other in others]
        self._taken.append(outcome)
        self.probability *= probabilities[outcome]
        return outcome

    def at(self, position: int) -> Path:
        return self

    def drafting(self) -> Path:
        return self

    def keeps(self, probability: float) -> bool:
        return self.choose((probability, 1 - probability)) == 0


def drawn(logprobs: Tensor, sources: Sequence[Path]) -> Tensor:
    """In place of `draw`: each row's token is one of those that are possible."""
    rows = logprobs.double().softmax(-1).tolist()
    return torch.tensor([path.choose(row) for path, row in zip(sources, rows, strict=True)])


def outcomes(voice: ComposedVoice, prompt: str, **settings: Any) -> list[tuple[float, Sample]]:
    """Every outcome of `voice.generate` with its probability; a text has as many as there are ways to it."""
    found: list[tuple[float, Sample]] = []
    waiting: list[list[int]] = [[]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "draw", drawn)
        while waiting:
            paths = [Path(prescribed) for prescribed in waiting[-AT_ONCE:]]
            del waiting[-AT_ONCE:]
            patch.setattr(sample, "Randomness", lambda seed, conversation, paths=paths: paths[seed])
            said = voice.generate(prompt, samples=len(paths), seed=0, **settings).samples
            found += [(path.probability, each) for path, each in zip(paths, said, strict=True)]
            waiting += [sibling for path in paths for sibling in path.siblings]
    return found


def law_of(found: Sequence[tuple[float, Sample]]) -> Law:
    """The probabilities of equal texts, added up."""
    parts = defaultdict(list)
    for probability, each in found:
        parts[each.text, each.finish_reason].append(probability)
    return {outcome: math.fsum(probabilities) for outcome, probabilities in parts.items()}


def distance(one: Law, two: Law) -> float:
    """The largest difference of any text's probability."""
    return max(abs(one.get(outcome, 0.0) - two.get(outcome, 0.0)) for outcome in {*one, *two})


def voice_over(
    tables: Mapping[str, TableModel], formula: str, speculate: str, draft: str | None = None
) -> ComposedVoice:
    """A voice whose terms are plain completions by `tables`."""
    terms = {name: Model(source=name).term(name=name, prefix="") for name in tables}
    return ComposedVoice(
        Voice(parse(formula, terms)),
        lambda model: tables[model.source].language_model(model.source),
        max_samples=AT_ONCE,
        speculate=speculate,
        draft=None if draft is None else parse(draft, terms),
    )


def expected_law(tables: Mapping[str, TableModel], formula: str, prompt: str, **settings: Any) -> Law:
    """The law of texts without speculation, multiplied out token by token, by the reference's own arithmetic."""
    chosen = GenerationSettings(**settings)
    pieces = next(iter(tables.values())).pieces
    found: Law = defaultdict(float)
    growing = {"": 1.0}
    for position in range(chosen.max_new_tokens):
        grown: dict[str, float] = {}
        for text, probability in growing.items():
            said = [pieces.index(letter) for letter in text]
            law = cut(evaluate_text(formula, scores_along(tables, prompt, text), said), said, pieces, chosen)
            for piece, share in zip(pieces, law, strict=True):
                if share == 0:
                    continue
                if piece == "<end>":
                    found[text, "end"] += probability * share
                elif position + 1 == chosen.max_new_tokens:
                    found[text + piece, "length"] += probability * share
                else:
                    grown[text + piece] = probability * share
        growing = grown
    return dict(found)


def scores_along(tables: Mapping[str, TableModel], prompt: str, text: str) -> list[dict[str, list[float]]]:
    """The tables' log-probabilities at each position of `text` and after it."""
    pieces = next(iter(tables.values())).pieces
    tokens = [pieces.index(letter) for letter in prompt + text]
    contexts = [tokens[: len(prompt) + position] for position in range(len(text) + 1)]
    return [{name: table.logprobs(context).tolist() for name, table in tables.items()} for context in contexts]


def cut(logprobs: list[float], said: Sequence[int], pieces: Sequence[str], settings: GenerationSettings) -> list[float]:
    """The probabilities that settings leave: penalties, biases, least length and truncation, in order."""
    weights = [x * settings.repetition_penalty if token in said else x for token, x in enumerate(logprobs)]
    for token in set(said):
        weights[token] -= settings.presence_penalty + settings.frequency_penalty * said.count(token)
    for token, nats in settings.logit_bias:
        weights[token] += nats
    if len(said) < settings.min_new_tokens:
        weights[pieces.index("<end>")] = FORBIDDEN
    shares = normalised([math.exp(x / settings.temperature) for x in weights])
    if settings.top_k is not None:
        border = sorted(shares)[-settings.top_k :][0]
        shares = normalised([p if p >= border else 0.0 for p in shares])
    likelier = {p: math.fsum(q for q in shares if q > p) for p in shares}
    shares = normalised([p if likelier[p] < settings.top_p else 0.0 for p in shares])
    return normalised([p if p >= settings.min_p * max(shares) else 0.0 for p in shares])


def normalised(shares: list[float]) -> list[float]:
    total = math.fsum(shares)
    return [share / total for share in shares]
