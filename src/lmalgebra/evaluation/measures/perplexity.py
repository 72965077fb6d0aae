"""Fluency: how likely a language model that judges finds each continuation after its prompt.

The judge reads prompt and continuation as one text, in its own tokens, so it may have any vocabulary. The perplexity
of all texts together is e to their negative log-likelihood over their number of tokens, or of bytes, which judges of
different vocabularies share.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmalgebra.algebra import Model
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.kept import Kept
from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.measures.judged import text_of
from lmalgebra.evaluation.statistics import Quantity
from lmalgebra.models.base import LanguageModel, Quoted, Row
from lmalgebra.models.fingerprint import weights_of

LOGITS = 1 << 27
"""Most logits of one pass: half a gigabyte of float32."""

TOKENS = 1 << 13
"""Most tokens of one pass."""

Pair = tuple[str, str]
"""A prompt, and what follows it."""


class Perplexity(Measure):
    """The perplexity of continuations under `model`, which `open_model` loads; what it found is kept in `cache`."""

    def __init__(self, model: Model, open_model: Callable[[Model], LanguageModel], cache: Path) -> None:
        path = Path(model.source).expanduser()
        self._called = path.name if path.exists() else model.source
        self.name, self.model = f"perplexity by {self._called}", model
        self._open, self._cache = open_model, cache

    def about(self) -> dict[str, Any]:
        places = {key: getattr(self.model, key) for key in ("engine", "dtype", "quantization")}
        return {"kind": "perplexity", "name": self._called, "revision": weights_of(self.model.source), **places}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        kept = Kept(self._cache / "likelihoods", self.about(), self._likelihoods)
        pairs = [
            (text_of(item.prompt), text)
            for item, texts in zip(answers.items, answers.texts, strict=True)
            for text in texts
        ]
        spoken = [pair for pair in pairs if pair[1]]
        empty = len(pairs) - len(spoken)
        advance(empty)
        found = dict(zip(spoken, kept(spoken, advance), strict=True))
        likelihoods = answers.folded([found.get(pair) for pair in pairs])
        nats = [-sum(each[0] for each in values if each) for values in likelihoods]
        tokens = [sum(each[1] for each in values if each) for values in likelihoods]
        sizes = [
            sum(len(text.encode()) for text, value in zip(texts, values, strict=True) if value)
            for texts, values in zip(answers.texts, likelihoods, strict=True)
        ]
        notes = [f"{empty} empty texts have no perplexity and were left out."] if empty else []
        return Measured(
            {"per_token": _exponent(nats, tokens), "per_byte": _exponent(nats, sizes)}, notes=[*notes, *kept.troubles]
        )

    @torch.inference_mode()
    def _likelihoods(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """For each pair the log-likelihood (nats) of what follows, and in how many tokens."""
        judge = self._open(self.model)
        texts = [_tokens(judge, *pair) for pair in pairs]
        found: list[list[float]] = [[]] * len(texts)
        for places in _passes(texts, LOGITS // judge.session.vocabulary_size):
            for place, value in zip(places, _read(judge, [texts[place] for place in places]), strict=True):
                found[place] = [round(value, 4), len(texts[place][0]) - texts[place][1]]
        return found


def _passes(texts: Sequence[tuple[list[int], int]], most: int) -> Iterator[list[int]]:
    """Places of texts of like length that are read together: at most `most` judged tokens, or one text."""
    batch: list[int] = []
    judged = read = 0
    for place in sorted(range(len(texts)), key=lambda place: len(texts[place][0])):
        tokens, first = texts[place]
        judged, read = judged + len(tokens) - first, read + len(tokens)
        if batch and (judged > most or read > TOKENS):
            yield batch
            batch, judged, read = [], len(tokens) - first, len(tokens)
        batch.append(place)
    if batch:
        yield batch


def _read(judge: LanguageModel, texts: Sequence[tuple[list[int], int]]) -> Iterator[float]:
    """The log-likelihood of each text from its first judged token on."""
    session = judge.session
    rows: list[Row] = []
    try:
        rows = [session.open() for _ in texts]
        new = {row: tokens[:-1] for row, (tokens, _) in zip(rows, texts, strict=True)}
        wanted = {row: len(tokens) - first for row, (tokens, first) in zip(rows, texts, strict=True)}
        logits = session.extend(new, wanted)
        for row, (tokens, first) in zip(rows, texts, strict=True):
            said = torch.tensor(tokens[first:], device=logits[row].device)
            chosen = logits[row].gather(1, said[:, None]).squeeze(1)
            yield float((chosen.double() - logits[row].logsumexp(-1).double()).sum())
    finally:
        for row in rows:
            session.close(row)


def _tokens(judge: LanguageModel, prompt: str, text: str) -> tuple[list[int], int]:
    """The tokens of both as one text, and the place of the first that the prompt alone does not have."""
    before = judge.tokenizer.encode([Quoted(prompt)])
    tokens = judge.tokenizer.encode([Quoted(prompt + text)])
    first = next(
        (place for place, pair in enumerate(zip(before, tokens, strict=False)) if pair[0] != pair[1]), len(before)
    )
    first = max(1, min(first, len(tokens) - 1))
    if len(tokens) < 2:
        raise EvaluationError("Prompt and text are one token, which follows nothing.", "Give a longer prompt.")
    if len(tokens) > judge.session.context_length:
        raise EvaluationError(
            f"A text of {len(tokens):,} tokens is longer than the {judge.session.context_length:,} that "
            f"'{judge.source}' can read.",
            "Take another judge of fluency, or shorter texts.",
        )
    return tokens, first


def _exponent(nats: Sequence[float], sizes: Sequence[float]) -> Quantity:
    return Quantity(np.array(nats, dtype=float), np.array(sizes, dtype=float), is_exponent=True, lower_is_better=True)
