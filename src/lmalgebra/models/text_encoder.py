"""Texts to vectors by a network without a head, as Transformers saves it: an encoder of sentences or a decoder.

Either the mean over a text's tokens, as encoders of sentences are trained, or what a decoder has at its last token.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmalgebra.models import loading
from lmalgebra.models.sequence_classifier import batches, longest_text, padding_token
from lmalgebra.models.store import silent

Pooling = Literal["mean", "last"]


class TextEncoder:
    """Vectors of texts; those longer than the network can read lose their end."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pooling: Pooling) -> None:
        self._model, self._tokenizer, self._pooling = model.eval(), tokenizer, pooling
        self._longest = longest_text(model, tokenizer)
        self._padding = padding_token(model, tokenizer)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Of each text, float32 `[texts, size]`; of length 1 where the mean is taken."""
        if not texts:
            return torch.empty(0, 0)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._longest, split_special_tokens=True)
        rows = [ids or [self._padding] for ids in tokens["input_ids"]]
        found = [torch.empty(0)] * len(rows)
        for batch in batches([len(each) for each in rows]):
            for place, vector in zip(batch, self._pass([rows[place] for place in batch]), strict=True):
                found[place] = vector
        return torch.stack(found)

    def _pass(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """One vector for each row of tokens, longest first."""
        lengths = torch.tensor([len(each) for each in tokens])
        longest = int(lengths.max())
        ids = torch.tensor([[*each, *[self._padding] * (longest - len(each))] for each in tokens])
        mask = torch.arange(longest) < lengths[:, None]
        device = self._model.device
        found = self._model(input_ids=ids.to(device), attention_mask=mask.long().to(device)).last_hidden_state
        states: Tensor = found.float().cpu()
        if self._pooling == "last":
            return states[torch.arange(len(tokens)), lengths - 1]
        means = (states * mask[..., None]).sum(1) / lengths[:, None]
        return torch.nn.functional.normalize(means, dim=-1)


def load_encoder(source: str, pooling: Pooling, report: Callable[[str], None] = silent) -> TextEncoder:
    """The network in a folder, or behind a catalogue name or hub id; only safetensors are loaded, no code of its own.

    It computes in float32: similarities differ in small digits. Raises ModelError.
    """
    place = torch.device(loading.choose_device("auto"))
    folder = loading.resolve(source, report)
    report(f"Loading the encoder {source} ...")
    with loading.quiet():
        model, tokenizer = loading.load_parts(source, folder, torch.float32, place, "AutoModel")
    tokenizer.padding_side = "right"
    return TextEncoder(model, tokenizer, pooling)


def similarities(encoder: TextEncoder, pairs: Sequence[Sequence[str]]) -> list[float]:
    """The cosine of each pair's vectors, from -1 to 1, for an encoder that takes the mean; each text is read once."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    vectors = dict(zip(texts, encoder.vectors(texts), strict=True))
    return [round(float(vectors[one] @ vectors[other]), 5) for one, other in pairs]
