"""Many sequences in one pass: one after another in a row, so that nothing is padded, or one in each row.

A packed row has position ids that begin anew with each sequence and no attention mask. Transformers' attention masks
are then block-diagonal: no token sees another sequence (`masking_utils.find_packed_sequence_indices`). Networks that
carry a state along the row know nothing of that; `packs_exactly` tells, and they read padded rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lmalgebra.training.contrast.encoding import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = dict[str, Tensor]
"""What the network reads, `[rows, length]` each, and of each token its sequence (`owner`, -1 for padding) and whether
phi counts it (`scored`)."""

READ = ("input_ids", "position_ids", "attention_mask")

LEAK = 1e-3
"""Nats by which a sequence may change when those beside it do, for `packs_exactly`: nothing but noise of kernels."""

ROUNDING = {True: 1e-3, False: 3e-2}
"""Share by which a sequence in company may differ from alone, in float32 and in half precision, likewise."""


def packed(sequences: Sequence[Encoded]) -> Batch:
    """All sequences in one row of all their tokens."""
    return _batch([list(range(len(sequences)))], sequences, masked=False)


def padded(sequences: Sequence[Encoded]) -> Batch:
    """Each sequence in a row of its own, as long as the longest."""
    return _batch([[place] for place in range(len(sequences))], sequences, masked=True)


def _batch(rows: Sequence[Sequence[int]], sequences: Sequence[Encoded], masked: bool) -> Batch:
    length = max(sum(len(sequences[place].tokens) for place in row) for row in rows)
    shape = (len(rows), length)
    ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    owner, scored = torch.full(shape, -1), torch.zeros(shape, dtype=torch.bool)
    for number, row in enumerate(rows):
        start = 0
        for place in row:
            tokens, first = sequences[place]
            span = slice(start, start + len(tokens))
            ids[number, span], positions[number, span] = torch.tensor(tokens), torch.arange(len(tokens))
            owner[number, span], scored[number, start + first : span.stop] = place, True
            start = span.stop
    mask = {"attention_mask": (owner >= 0).long()} if masked else {}
    return {"input_ids": ids, "position_ids": positions, "owner": owner, "scored": scored, **mask}


def scored_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The logits that predict each scored token, `[scored, vocabulary]`, row by row; in float32 where in less."""
    read = {name: batch[name] for name in READ if name in batch}
    logits = model(**read, use_cache=False).logits
    return logits[:, :-1][batch["scored"][:, 1:]].to(torch.promote_types(logits.dtype, torch.float32))


def token_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Minus the log-probability of each scored token, in nats, `[scored]`."""
    return cross_entropy(logits, batch["input_ids"][batch["scored"]], reduction="none")


def sequence_means(values: Tensor, batch: Batch, count: int) -> Tensor:
    """The mean of a value of each scored token over the tokens of each of `count` sequences, `[count]`."""
    owner = batch["owner"][batch["scored"]]
    zeros = values.new_zeros(count)
    return zeros.index_add(0, owner, values) / zeros.index_add(0, owner, torch.ones_like(values)).clamp(min=1)


def mean_losses(model: PreTrainedModel, sequences: Sequence[Encoded], pack: bool = True) -> Tensor:
    """The mean token loss of each sequence, in nats, `[sequences]`, by one pass."""
    batch = {name: value.to(model.device) for name, value in (packed if pack else padded)(sequences).items()}
    return sequence_means(token_losses(scored_logits(model, batch), batch), batch, len(sequences))


def packs_exactly(model: PreTrainedModel) -> bool:
    """Whether sequences in one row are read as they are alone: tried on four, whatever stands before the last ones."""
    size = model.config.get_text_config().vocab_size
    sequences = [Encoded(tuple(int(number * size) for number in draw), 1) for draw in _TRIED]
    changed = [Encoded(sequences[0].tokens[::-1], 1), Encoded(sequences[1].tokens[::-1], 1), *sequences[2:]]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            together, alone = (mean_losses(model, sequences, pack) for pack in (True, False))
            beside_others = mean_losses(model, changed)
    finally:
        model.train(training)
    leak, apart = (beside_others - together)[2:].abs().max(), ((together - alone) / alone).abs().max()
    return bool(leak <= LEAK and apart <= ROUNDING[model.dtype == torch.float32])


_TRIED = (
    (0.0, 0.99, 0.31, 0.62, 0.17),
    (0.73, 0.08, 0.55),
    (0.41, 0.9),
    (0.2, 0.83, 0.02, 0.67, 0.48, 0.36),
)
"""Tokens of the sequences that packing is tried on, as shares of the vocabulary."""
