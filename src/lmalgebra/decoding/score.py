"""How likely a given text is under a formula."""

from collections.abc import Mapping, Sequence
from math import inf

import torch
from torch import Tensor

from lmalgebra.algebra import Term
from lmalgebra.decoding.biases import Text, add_biases
from lmalgebra.decoding.context import Conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import Row, Session

BLOCK = 64
"""Tokens of the text that are scored in one pass."""


@torch.inference_mode()
def score(
    loaded: LoadedFormula, messages: Conversation, continuation: str, max_new_tokens: int, block: int = BLOCK
) -> tuple[list[int], Tensor]:
    """The tokens of `continuation` and the log-probability (nats) of each under the formula, `[tokens]`.

    `max_new_tokens` is the longest length that constraints reckon with, or that of the text where it is longer.
    Raises PromptError when the text does not fit into a term's context.
    """
    tokens = loaded.tokenizer.encode([continuation], start=False)
    contexts = loaded.contexts(messages)
    rows: dict[Term, Row] = {}
    most = max(loaded.most_tokens(contexts, max_new_tokens), len(tokens))
    states = {leaf: scorer.begin(messages, most) for leaf, scorer in loaded.scorers.items()}
    try:
        for leaf in loaded.plan.speakers:
            rows[leaf] = loaded.sessions[leaf].open()
        found = [_block(loaded, rows, {leaf: contexts[leaf] for leaf in rows}, Text(states, [], 0), tokens[:1])]
        for start in range(1, len(tokens), block):
            part = tokens[start : start + block]
            read = tokens[start - 1 : start - 1 + len(part)]
            text = Text(states, tokens[: start + len(part) - 1], start)
            is_impossible = bool(torch.cat(found).isneginf().any())
            found.append(_block(loaded, rows, dict.fromkeys(rows, read), text, part, is_impossible))
    finally:
        for leaf, row in rows.items():
            loaded.sessions[leaf].close(row)
        for leaf, state in states.items():
            loaded.scorers[leaf].end(state)
    return tokens, torch.cat(found)


def _block(
    loaded: LoadedFormula,
    rows: Mapping[Term, Row],
    read: Mapping[Term, Sequence[int]],
    text: Text,
    tokens: Sequence[int],
    is_impossible: bool = False,
) -> Tensor:
    """The log-probabilities of `tokens`, which go on from `text.first`, after the rows have read `read`.

    Of a text that `is_impossible` already nothing may be left to say; then they are `-inf`, too.
    """
    logits: dict[Session, Mapping[Row, Tensor]] = {}
    for session in dict.fromkeys(loaded.sessions[leaf] for leaf in rows):
        mine = {row: read[leaf] for leaf, row in rows.items() if loaded.sessions[leaf] is session}
        logits[session] = session.extend(mine, dict.fromkeys(mine, len(tokens)))
    scores = {}
    for leaf, row in rows.items():
        scores[leaf] = logits[loaded.sessions[leaf]][row][:, : loaded.vocabulary_size].to(loaded.device)
    scores = add_biases(loaded.plan, loaded.scorers, scores, [text])
    try:
        logprobs = loaded.plan.logprobs(scores, text.positions)
    except DecodingError:
        return _until_impossible(loaded.plan, scores, text.positions, tokens, is_impossible)
    return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)


def _until_impossible(
    plan: Plan, scores: Mapping[Term, Tensor], positions: Sequence[int], tokens: Sequence[int], is_impossible: bool
) -> Tensor:
    """The same, position by position, as long as the text is possible.

    Raises DecodingError where it is and yet no token is possible.
    """
    found: list[float] = []
    like = next(iter(scores.values()))
    for row, (position, token) in enumerate(zip(positions, tokens, strict=True)):
        is_impossible = is_impossible or -inf in found
        mine = {leaf: each[row : row + 1] for leaf, each in scores.items()}
        found.append(-inf if is_impossible else float(plan.logprobs(mine, [position])[0, token]))
    return torch.tensor(found, dtype=like.dtype, device=like.device)
