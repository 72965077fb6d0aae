"""How likely a given text is under a formula."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from lmalgebra.algebra import Formula, Term
from lmalgebra.decoding.biases import Text, add_biases
from lmalgebra.decoding.context import Conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import DecodingError, PromptError
from lmalgebra.models.base import Row, Session

BLOCK = 64
"""Tokens of the text that are scored in one pass."""


class Block(NamedTuple):
    """Some tokens of a text, the positions at which they stand, and the scores of the formula's leaves there,
    `[tokens, vocabulary]`, with the weights of its rules of steering; valid until the next block."""

    tokens: Sequence[int]
    positions: Sequence[int]
    scores: Mapping[Formula, Tensor]


@torch.inference_mode()
def score(
    loaded: LoadedFormula, messages: Conversation, continuation: str, max_new_tokens: int, block: int = BLOCK
) -> tuple[list[int], Tensor]:
    """The tokens of `continuation` and the log-probability (nats) of each under the formula, float64 `[tokens]`.

    For `max_new_tokens` see `read_text`. Raises PromptError when the text does not fit into a term's context.
    """
    tokens = text_tokens(loaded, continuation)
    found: list[float] = []
    with closing(read_text(loaded, messages, tokens, max_new_tokens, block)) as blocks:
        for part in blocks:
            found += _logprobs(loaded.plan, part, is_impossible=-inf in found)
    return tokens, torch.tensor(found, dtype=torch.float64)


def text_tokens(loaded: LoadedFormula, continuation: str) -> list[int]:
    """The tokens of a text that goes on after a prompt. Raises PromptError when it is empty."""
    if not continuation:
        raise PromptError("The continuation is empty.", "Give at least one character to score.")
    return loaded.tokenizer.encode([continuation], start=False)


def read_text(
    loaded: LoadedFormula, messages: Conversation, tokens: Sequence[int], max_new_tokens: int, block: int = BLOCK
) -> Iterator[Block]:
    """The blocks of a text of `tokens` after `messages`; its rows are closed however this ends.

    `max_new_tokens` is the longest length that constraints reckon with, or that of the text where it is longer.
    Raises PromptError when the text does not fit into a term's context.
    """
    contexts = loaded.contexts(messages)
    rows: dict[Term, Row] = {}
    most = max(loaded.most_tokens(contexts, max_new_tokens), len(tokens))
    states = loaded.begin_states(messages, most)
    try:
        for leaf in loaded.plan.speakers:
            rows[leaf] = loaded.open(leaf)
        new: Mapping[Term, Sequence[int]] = {leaf: contexts[leaf] for leaf in rows}
        start, end = 0, 1  # the first token follows the context, which is a pass of its own
        while start < len(tokens):
            part = tokens[start:end]
            yield _block(loaded, rows, new, Text(states, tokens[: start + len(part) - 1], start), part)
            start, end = end, min(end + block, len(tokens))
            new = dict.fromkeys(rows, tokens[start - 1 : end - 1])
    finally:
        for leaf, row in rows.items():
            loaded.sessions[leaf].close(row)
        loaded.end_states(states)


def chosen(logprobs: Tensor, tokens: Sequence[int]) -> Tensor:
    """The log-probability of each of `tokens` in its row, `[tokens]`."""
    return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)


def _block(
    loaded: LoadedFormula,
    rows: Mapping[Term, Row],
    new: Mapping[Term, Sequence[int]],
    text: Text,
    tokens: Sequence[int],
) -> Block:
    """The block of `tokens`, which go on from `text.first`, after the rows have read `new`."""
    logits: dict[Session, Mapping[Row, Tensor]] = {}
    for session in dict.fromkeys(loaded.sessions[leaf] for leaf in rows):
        mine = {row: new[leaf] for leaf, row in rows.items() if loaded.sessions[leaf] is session}
        logits[session] = session.extend(mine, dict.fromkeys(mine, len(tokens)))
    scores = {}
    for leaf, row in rows.items():
        scores[leaf] = logits[loaded.sessions[leaf]][row][:, : loaded.vocabulary_size].to(loaded.device)
    return Block(tokens, text.positions, add_biases(loaded, loaded.plan, scores, [text]))


def _logprobs(plan: Plan, block: Block, is_impossible: bool) -> list[float]:
    """The log-probabilities of the block's tokens; `-inf` from where on the text cannot be.

    Of a text that `is_impossible` already nothing may be left to say. Raises DecodingError where it is possible and
    yet no token is.
    """
    try:
        found: list[float] = chosen(plan.logprobs(block.scores, block.positions), block.tokens).tolist()
        return found
    except DecodingError:
        found = []
    for row, (position, token) in enumerate(zip(block.positions, block.tokens, strict=True)):
        is_impossible = is_impossible or -inf in found
        mine = {leaf: each[row : row + 1] for leaf, each in block.scores.items()}
        found.append(-inf if is_impossible else float(plan.logprobs(mine, [position])[0, token]))
    return found
