"""How likely a given text is under a formula."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lmalgebra.algebra import Term
from lmalgebra.decoding.context import Conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.models.base import Row, Session

BLOCK = 64
"""Tokens of the text that are scored in one pass."""


@torch.inference_mode()
def score(
    loaded: LoadedFormula, messages: Conversation, continuation: str, block: int = BLOCK
) -> tuple[list[int], Tensor]:
    """The tokens of `continuation` and the log-probability (nats) of each under the formula, `[tokens]`.

    Raises PromptError when the text does not fit into a term's context.
    """
    tokens = loaded.tokenizer.encode([continuation], start=False)
    contexts = loaded.contexts(messages)
    rows: dict[Term, Row] = {}
    try:
        for leaf in loaded.plan.leaves:
            rows[leaf] = loaded.open(leaf)
        found = [_block(loaded, rows, {leaf: contexts[leaf] for leaf in rows}, tokens[:1], 0)]
        for start in range(1, len(tokens), block):
            part = tokens[start : start + block]
            read = tokens[start - 1 : start - 1 + len(part)]
            found.append(_block(loaded, rows, dict.fromkeys(rows, read), part, start))
    finally:
        for leaf, row in rows.items():
            loaded.sessions[leaf].close(row)
    return tokens, torch.cat(found)


def _block(
    loaded: LoadedFormula,
    rows: Mapping[Term, Row],
    read: Mapping[Term, Sequence[int]],
    tokens: Sequence[int],
    start: int,
) -> Tensor:
    """The log-probabilities of `tokens`, from position `start` on, after the rows have read `read`."""
    logits: dict[Session, Mapping[Row, Tensor]] = {}
    for session in dict.fromkeys(loaded.sessions[leaf] for leaf in rows):
        mine = {row: read[leaf] for leaf, row in rows.items() if loaded.sessions[leaf] is session}
        logits[session] = session.extend(mine, dict.fromkeys(mine, len(tokens)))
    scores = {}
    for leaf, row in rows.items():
        scores[leaf] = logits[loaded.sessions[leaf]][row][:, : loaded.vocabulary_size].to(loaded.device)
    logprobs = loaded.plan.logprobs(scores, list(range(start, start + len(tokens))))
    return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)
