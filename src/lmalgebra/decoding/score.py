"""How likely a given text is under a formula."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lmalgebra.algebra import Term
from lmalgebra.decoding.biases import Text, add_biases
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
    states = loaded.begin_states(messages)
    try:
        for leaf in loaded.plan.speakers:
            rows[leaf] = loaded.sessions[leaf].open()
        found = [_block(loaded, rows, {leaf: contexts[leaf] for leaf in rows}, Text(states, [], 0), tokens[:1])]
        for start in range(1, len(tokens), block):
            part = tokens[start : start + block]
            read = tokens[start - 1 : start - 1 + len(part)]
            text = Text(states, tokens[: start + len(part) - 1], start)
            found.append(_block(loaded, rows, dict.fromkeys(rows, read), text, part))
    finally:
        for leaf, row in rows.items():
            loaded.sessions[leaf].close(row)
        loaded.end_states(states)
    return tokens, torch.cat(found)


def _block(
    loaded: LoadedFormula,
    rows: Mapping[Term, Row],
    read: Mapping[Term, Sequence[int]],
    text: Text,
    tokens: Sequence[int],
) -> Tensor:
    """The log-probabilities of `tokens`, which go on from `text.first`, after the rows have read `read`."""
    logits: dict[Session, Mapping[Row, Tensor]] = {}
    for session in dict.fromkeys(loaded.sessions[leaf] for leaf in rows):
        mine = {row: read[leaf] for leaf, row in rows.items() if loaded.sessions[leaf] is session}
        logits[session] = session.extend(mine, dict.fromkeys(mine, len(tokens)))
    scores = {}
    for leaf, row in rows.items():
        scores[leaf] = logits[loaded.sessions[leaf]][row][:, : loaded.vocabulary_size].to(loaded.device)
    logprobs = loaded.plan.logprobs(add_biases(loaded, loaded.plan, scores, [text]), text.positions)
    return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)
