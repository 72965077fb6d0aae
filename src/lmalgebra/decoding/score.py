"""How likely given texts are under a formula."""

from collections.abc import Sequence
from contextlib import closing
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts, finished
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.reading import BATCH_TOKENS, BLOCK, Block, Given, read_in_parts
from lmalgebra.errors import DecodingError, PromptError


class TokenScores(NamedTuple):
    """The log-probability (nats) of each token of a text, and whether each is the likeliest at its place."""

    logprobs: list[float]
    is_greedy: list[bool]


def score_many(
    loaded: LoadedFormula, texts: Sequence[Given], max_new_tokens: int, block: int = BLOCK
) -> list[TokenScores]:
    """What the formula says of each of `texts`, whatever others there are.

    For `max_new_tokens` see `read_texts`. Raises PromptError when a text does not fit into a term's context.
    """
    return finished(score_in_parts(loaded, texts, max_new_tokens, block))


@torch.inference_mode()
def score_in_parts(
    loaded: LoadedFormula, texts: Sequence[Given], max_new_tokens: int, block: int, chunk: int = BATCH_TOKENS
) -> Parts[list[TokenScores]]:
    """As `score_many`; a part is one pass, as in `read_in_parts`."""
    found = [TokenScores([], []) for _ in texts]
    with closing(read_in_parts(loaded, texts, max_new_tokens, block, chunk)) as parts:
        for part in parts:
            if part is not None:
                place, scored = part
                so_far = found[place]
                more = _scores(loaded.plan, scored, is_impossible=-inf in so_far.logprobs)
                so_far.logprobs.extend(more.logprobs)
                so_far.is_greedy.extend(more.is_greedy)
            yield
    return found


def text_tokens(loaded: LoadedFormula, continuation: str) -> list[int]:
    """The tokens of a text that goes on after a prompt. Raises PromptError when it is empty."""
    if not continuation:
        raise PromptError("The continuation is empty.", "Give at least one character to score.")
    return loaded.tokenizer.encode([continuation], start=False)


def chosen(logprobs: Tensor, tokens: Sequence[int]) -> Tensor:
    """The log-probability of each of `tokens` in its row, `[tokens]`."""
    return logprobs.gather(1, torch.tensor(tokens, device=logprobs.device)[:, None]).squeeze(1)


def _scores(plan: Plan, block: Block, is_impossible: bool) -> TokenScores:
    """The scores of the block's tokens; `-inf` from where on the text cannot be.

    Of a text that `is_impossible` already nothing may be left to say. Raises DecodingError where it is possible and
    yet no token is.
    """
    try:
        return _of_law(plan.logprobs(block.scores, block.positions), block.tokens)
    except DecodingError:
        found = TokenScores([], [])
    for row, (position, token) in enumerate(zip(block.positions, block.tokens, strict=True)):
        is_impossible = is_impossible or -inf in found.logprobs
        mine = {leaf: each[row : row + 1] for leaf, each in block.scores.items()}
        one = TokenScores([-inf], [False]) if is_impossible else _of_law(plan.logprobs(mine, [position]), [token])
        found.logprobs.extend(one.logprobs)
        found.is_greedy.extend(one.is_greedy)
    return found


def _of_law(logprobs: Tensor, tokens: Sequence[int]) -> TokenScores:
    best = logprobs.argmax(-1).tolist()
    return TokenScores(
        chosen(logprobs, tokens).tolist(), [token == likeliest for token, likeliest in zip(tokens, best, strict=True)]
    )
