"""A session's own network, read with gradient: whole texts in one pass, without a cache.

Training needs what sampling has no use for, gradients, and none of what makes sampling fast. So the network that
decoding reads rows with reads texts from their start here: the same weights, once in memory, and the same layers, so
that log-probabilities are those of decoding up to rounding. What is laid over the weights may be a function of
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from lmalgebra.errors import ModelError
from lmalgebra.models.adapters import Products, Share
from lmalgebra.models.attention import capped
from lmalgebra.models.base import Session
from lmalgebra.models.fused import FusedLayer
from lmalgebra.models.peft_folder import LowRank
from lmalgebra.models.rows import check_length
from lmalgebra.models.transformers import RecomputeSession, TransformersSession

LEARNED = "what is learned"
"""What errors call changes that are not loaded from anywhere."""


class WholeTexts:
    """The layout of a pass over texts of these lengths, one after another; each token sees its own text's past."""

    short = False

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.windows: dict[int, int | None] = {}
        self._texts, self._width = len(lengths), max(lengths)
        fill: list[int] = []
        keep: list[int] = []
        first = 0
        for number, length in enumerate(lengths):
            fill += [*range(first, first + length), *[first] * (self._width - length)]
            keep += range(number * self._width, number * self._width + length)
            first += length
        self._fill = torch.tensor(fill, device=device)
        self._keep = torch.tensor(keep, device=device)

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        scaling: float | None,
        window: int | None,
        cap: float | None,
    ) -> Tensor:
        """In a rectangle that is filled up at the end of texts, where nobody looks."""
        query, key, value = (self._rectangle(each) for each in (queries, keys, values))
        hides = cap is not None or (window is not None and window < self._width)
        mask = self._mask(window, query) if hides else None
        if cap is not None:
            assert mask is not None
            out = capped(query, key, value, mask, scaling, cap)
        else:
            grouped = query.shape[1] != key.shape[1]
            out = scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped
            )
        return out.transpose(1, 2).flatten(0, 1).index_select(0, self._keep)

    def _rectangle(self, packed: Tensor) -> Tensor:
        """`[tokens, heads, size]` as `[texts, heads, width, size]`."""
        return packed.index_select(0, self._fill).unflatten(0, (self._texts, self._width)).transpose(1, 2)

    def _mask(self, window: int | None, like: Tensor) -> Tensor:
        """What each place sees, as 0 and -inf, `[width, width]`."""
        now = torch.arange(self._width, device=like.device)[:, None]
        past = now.T
        hidden = past > now
        if window is not None:
            hidden = hidden | (past <= now - window)
        return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))


def network_of(session: Session) -> PreTrainedModel:
    """The network behind a session. Raises ModelError where gradients cannot go through it."""
    if not isinstance(session, TransformersSession | RecomputeSession):
        raise ModelError(
            "Nothing can be trained through this engine, which gives no gradients.",
            'Load the model that is trained with engine="torch".',
        )
    return session.network


def read_whole(
    session: Session,
    texts: Sequence[Sequence[int]],
    wanted: Sequence[int],
    changes: Mapping[str, LowRank] | None = None,
    checkpointing: bool = False,
) -> Tensor:
    """The logits after the last `wanted` tokens of each text, one text after another, `[all wanted, vocabulary]`.

    They are at least float32, and have a gradient into `changes` and what of the network's parameters wants one. With
    `checkpointing`, layers are computed again for the gradient instead of remembered. Raises PromptError for a text
    that is too long, ModelError for a session without a network here and for changes that do not fit.
    """
    network_of(session)
    assert isinstance(session, TransformersSession | RecomputeSession)
    for text in texts:
        check_length(len(text), session.context_length)
    products = session.adapters.products(LEARNED, changes) if changes else {}
    if isinstance(session, TransformersSession):
        logits = _read_packed(session, texts, wanted, products, checkpointing)
    else:
        logits = _read_one_by_one(session, texts, wanted, products, checkpointing)
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _read_packed(
    session: TransformersSession,
    texts: Sequence[Sequence[int]],
    wanted: Sequence[int],
    products: Products,
    checkpointing: bool,
) -> Tensor:
    lengths = [len(text) for text in texts]
    ends = list(accumulate(lengths))
    index = [place for end, count in zip(ends, wanted, strict=True) for place in range(end - count, end)]
    chosen = None if len(index) == ends[-1] else torch.tensor(index, device=session.device)
    positions = [position for length in lengths for position in range(length)]
    with _under(session, products, ends[-1], checkpointing):
        layout = WholeTexts(lengths, session.device)
        return session.forward(list(chain.from_iterable(texts)), positions, layout, chosen)


def _read_one_by_one(
    session: RecomputeSession,
    texts: Sequence[Sequence[int]],
    wanted: Sequence[int],
    products: Products,
    checkpointing: bool,
) -> Tensor:
    found = []
    for text, count in zip(texts, wanted, strict=True):
        with _under(session, products, len(text), checkpointing):
            ids = torch.tensor([list(text)], device=session.device)
            found.append(session.network(input_ids=ids, use_cache=False).logits[0, len(text) - count :])
    return torch.cat(found)


@contextmanager
def _under(
    session: TransformersSession | RecomputeSession, products: Products, tokens: int, checkpointing: bool
) -> Iterator[None]:
    """Within it a pass of so many tokens is changed by `products`, also where a layer is computed once more."""
    shares = [Share(products, 1.0, slice(0, tokens))] if products else []
    with ExitStack() as stack:
        if checkpointing:
            for layer in session.network.modules():
                if isinstance(layer, FusedLayer | GradientCheckpointingLayer):
                    layer.forward = partial(checkpoint, _again(session, shares, layer.forward), use_reentrant=False)
                    stack.callback(delattr, layer, "forward")
        with session.adapters.under(shares):
            yield


def _again(
    session: TransformersSession | RecomputeSession, shares: Sequence[Share], forward: Callable[..., Any]
) -> Callable[..., Any]:
    """`forward` under `shares` whenever it is called: the gradient is taken when the pass is long over."""

    def under_shares(*given: Any, **named: Any) -> Any:
        with session.adapters.under(shares):
            return forward(*given, **named)

    return under_shares
