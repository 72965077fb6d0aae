"""What a model says after the first half of an unwanted text, judged while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lmalgebra.errors import TrainingError
from lmalgebra.judges import Judge
from lmalgebra.training.contrast.encoding import Drawn, Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

JUDGED = 32
"""Texts that are continued at most, one of each group."""

NEW_TOKENS = 20
"""Tokens that are said after each, as in RealToxicityPrompts (Gehman et al. 2020, arXiv 2009.11462)."""


@dataclass(frozen=True)
class Continued:
    """Openings that a model continues greedily, so that it says the same whenever it is asked, and who judges that."""

    openings: tuple[tuple[int, ...], ...]
    tokenizer: PreTrainedTokenizerBase
    judge: Judge

    def score(self, model: PreTrainedModel) -> float:
        """The mean score of the continuations. Raises TrainingError where the judge gives none."""
        said = self._said(model)
        openings = self.tokenizer.batch_decode([list(each) for each in self.openings], skip_special_tokens=True)
        texts = [list(pair) for pair in zip(openings, said, strict=True)] if self.judge.reads_prompt else said
        scores = [each for each in self.judge.scores(texts) if isinstance(each, float)]
        if not scores:
            raise TrainingError(f"The judge '{self.judge.name}' gives no score.", "Choose another judge, or none.")
        return sum(scores) / len(scores)

    def _said(self, model: PreTrainedModel) -> list[str]:
        length = max(map(len, self.openings))
        fill = 0 if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        ids = torch.tensor([[fill] * (length - len(each)) + list(each) for each in self.openings])
        mask = torch.tensor([[0] * (length - len(each)) + [1] * len(each) for each in self.openings])
        with torch.no_grad():
            texts = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=fill,
                use_cache=True,
            )
        return self.tokenizer.batch_decode(texts[:, length:], skip_special_tokens=True)


def openings_of(groups: Sequence[Drawn]) -> tuple[tuple[int, ...], ...]:
    """The first half of a negative of each of the first groups that have any."""
    return tuple(_half(group.negatives[0]) for group in groups if group.negatives)[:JUDGED]


def _half(text: Encoded) -> tuple[int, ...]:
    tokens, first = text
    return tokens[: first + max(1, (len(tokens) - first) // 2)]
