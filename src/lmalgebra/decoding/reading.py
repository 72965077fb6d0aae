"""Reads given texts under a formula, many at once, and gives the scores of its leaves at each of their tokens.

What contexts have in common is read once: the beginning that all share, and each context that several texts follow,
such as the choices of one question. What is left of all texts goes through in passes of a bounded size, so that the
scores of a pass stay small however many texts there are.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmalgebra.algebra import Formula, Term
from lmalgebra.alike import common_length
from lmalgebra.decoding.biases import Text, add_biases
from lmalgebra.decoding.context import Conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.prefixes import SHORTEST
from lmalgebra.errors import CacheFullError
from lmalgebra.models.base import Row

BLOCK = 128
"""Tokens, of all texts together, that are scored in one pass."""

BATCH_TOKENS = 1 << 14
"""Tokens that the rows of texts which are read together may hold."""


Reading = tuple[Term, Row, Sequence[int]]
"""The tokens that a leaf's row is to read."""


class Given(NamedTuple):
    """A text to be read: the messages that it answers, what each term reads of them, and the text's tokens.

    `known` are language models whose logits at its tokens, `[tokens, vocabulary]`, are there already: nothing is read
    for them. Texts that are read together know the same ones.
    """

    messages: Conversation
    contexts: Mapping[Term, Sequence[int]]
    tokens: Sequence[int]
    known: Mapping[Term, Tensor] = MappingProxyType({})


class Block(NamedTuple):
    """Some tokens of a text, the positions at which they stand, and the scores of the formula's leaves there,
    `[tokens, vocabulary]`, with the weights of its rules of steering; valid until the next block."""

    tokens: Sequence[int]
    positions: Sequence[int]
    scores: Mapping[Formula, Tensor]


class Part(NamedTuple):
    """The tokens from `start` to `end` of the text at `place`."""

    place: int
    start: int
    end: int


def read_texts(
    loaded: LoadedFormula, texts: Sequence[Given], max_new_tokens: int, block: int = BLOCK
) -> Iterator[tuple[int, Block]]:
    """The blocks of each text in order, after its place; all rows are closed however this ends.

    `max_new_tokens` is the longest length that constraints reckon with, or that of the text where it is longer.
    Raises PromptError when a text does not fit into a term's context.
    """
    with closing(read_in_parts(loaded, texts, max_new_tokens, block)) as parts:
        for part in parts:
            if part is not None:
                yield part


def read_in_parts(
    loaded: LoadedFormula, texts: Sequence[Given], max_new_tokens: int, block: int, chunk: int = BATCH_TOKENS
) -> Generator[tuple[int, Block] | None, None, None]:
    """As `read_texts`, with None after each pass through a context, of which it reads at most `chunk` tokens."""
    for first, batch in _batches(loaded, texts):
        yield from _read_batch(loaded, batch, first, max_new_tokens, block, chunk)


def _batches(loaded: LoadedFormula, texts: Sequence[Given]) -> Iterator[tuple[int, Sequence[Given]]]:
    """Neighbouring texts of at most BATCH_TOKENS, or one longer text, after the place of the first."""
    first, held = 0, 0
    for place, text in enumerate(texts):
        size = sum(_length(text, leaf) for leaf in _readers(loaded, text))
        if held + size > BATCH_TOKENS and place > first:
            yield first, texts[first:place]
            first, held = place, 0
        held += size
    if first < len(texts):
        yield first, texts[first:]


def _read_batch(
    loaded: LoadedFormula, texts: Sequence[Given], first: int, max_new_tokens: int, block: int, chunk: int
) -> Generator[tuple[int, Block] | None, None, None]:
    """The blocks of texts that are read together, or half by half where there is no room for all.

    `first` is the place of the first text.
    """
    with ExitStack() as stack:
        try:
            rows = yield from _rows(loaded, texts, stack, chunk)
        except CacheFullError:
            if len(texts) == 1:
                raise
        else:
            states = [_states(loaded, text, max_new_tokens, stack) for text in texts]
            for parts in _passes(texts, block):
                blocks = _blocks(loaded, texts, rows, states, parts)
                yield from ((first + part.place, each) for part, each in zip(parts, blocks, strict=True))
            return
    half = len(texts) // 2
    yield from _read_batch(loaded, texts[:half], first, max_new_tokens, block, chunk)
    yield from _read_batch(loaded, texts[half:], first + half, max_new_tokens, block, chunk)


def _states(loaded: LoadedFormula, text: Given, max_new_tokens: int, stack: ExitStack) -> Mapping[Formula, Any]:
    """What terms remember of a text, until the stack is closed."""
    most = max(loaded.most_tokens(text.contexts, max_new_tokens), len(text.tokens))
    states = loaded.begin_states(text.messages, most)
    stack.callback(loaded.end_states, states)
    return states


def _rows(loaded: LoadedFormula, texts: Sequence[Given], stack: ExitStack, chunk: int) -> Parts[list[dict[Term, Row]]]:
    """For each text and leaf a row that has read its context but for the last token, open until the stack is closed.

    Each has the room for its text. Raises CacheFullError where there is none.
    """
    places = {leaf: _places(texts, leaf) for leaf in _readers(loaded, texts[0])}
    shared = {leaf: _shared(contexts) for leaf, contexts in places.items()}
    rooms = {leaf: [_length(text, leaf) for text in texts] for leaf in places}
    trunks = {leaf: loaded.open(leaf, max(rooms[leaf])) for leaf in places}
    for leaf, row in trunks.items():
        stack.callback(loaded.sessions[leaf].close, row)
    beginnings = [(leaf, row, next(iter(places[leaf]))[: shared[leaf]]) for leaf, row in trunks.items()]
    yield from _read_in_passes(loaded, beginnings, chunk)
    stems = []
    for leaf, trunk in trunks.items():
        needed = [max(rooms[leaf][place] for place in its) for its in places[leaf].values()]
        stems += [(leaf, *each) for each in zip(_forks(stack, loaded, leaf, trunk, needed), places[leaf], strict=True)]
    rest = [(leaf, row, context[shared[leaf] :]) for leaf, row, context in stems]
    yield from _read_in_passes(loaded, rest, chunk)
    rows: list[dict[Term, Row]] = [{} for _ in texts]
    for leaf, stem, context in stems:
        its = places[leaf][context]
        forks = _forks(stack, loaded, leaf, stem, [rooms[leaf][place] for place in its])
        for place, row in zip(its, forks, strict=True):
            rows[place][leaf] = row
    return rows


def _readers(loaded: LoadedFormula, text: Given) -> list[Term]:
    """The language models that are still to read it."""
    return [leaf for leaf in loaded.plan.speakers if leaf not in text.known]


def _length(text: Given, leaf: Term) -> int:
    """Tokens that the row of `leaf` holds in the end: the last token need not be read."""
    return len(text.contexts[leaf]) + len(text.tokens) - 1


def _places(texts: Sequence[Given], leaf: Term) -> dict[tuple[int, ...], list[int]]:
    """Which texts follow each context of `leaf`, taken without its last token."""
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        found[tuple(text.contexts[leaf][:-1])].append(place)
    return found


def _shared(contexts: Iterable[tuple[int, ...]]) -> int:
    """How many first tokens all contexts have in common, where copying them is worth while."""
    listed = sorted(contexts)
    length = common_length(listed[0], listed[-1])
    return length if length >= SHORTEST else 0


def _forks(stack: ExitStack, loaded: LoadedFormula, leaf: Term, row: Row, rooms: Sequence[int]) -> list[Row]:
    """A row with each of `rooms` that goes on from `row`, which is the first of them itself."""
    session = loaded.sessions[leaf]
    forks = [row]
    for room in rooms[1:]:
        forks.append(session.fork(row, room=room))
        stack.callback(session.close, forks[-1])
    return forks


def _passes(texts: Sequence[Given], block: int) -> Iterator[list[Part]]:
    """Parts of texts, at most `block` tokens together, and at most one of each text."""
    parts: list[Part] = []
    room = block
    for place, text in enumerate(texts):
        start = 0
        while start < len(text.tokens):
            end = min(len(text.tokens), start + room)
            parts.append(Part(place, start, end))
            room -= end - start
            start = end
            if not room:
                yield parts
                parts, room = [], block
    if parts:
        yield parts


def _blocks(
    loaded: LoadedFormula,
    texts: Sequence[Given],
    rows: Sequence[Mapping[Term, Row]],
    states: Sequence[Mapping[Formula, Any]],
    parts: Sequence[Part],
) -> list[Block]:
    """The blocks of `parts`, which their rows now read: each token stands after the one before it."""
    work, wanted, asked = [], [], []
    for place, start, end in parts:
        text = texts[place]
        for leaf in _readers(loaded, text):
            work.append((leaf, rows[place][leaf], [text.contexts[leaf][-1], *text.tokens][start:end]))
            wanted.append(end - start)
        asked.append(Text(states[place], text.tokens[: end - 1], start))
    by_leaf: dict[Term, list[Tensor]] = defaultdict(list)
    for place, start, end in parts:
        for leaf, logits in texts[place].known.items():
            by_leaf[leaf].append(logits[start:end, : loaded.vocabulary_size].to(loaded.device))
    for (leaf, _, _), logits in zip(work, _read(loaded, work, wanted), strict=True):
        by_leaf[leaf].append(logits[:, : loaded.vocabulary_size].to(loaded.device))
    together = {leaf: each[0] if len(each) == 1 else torch.cat(each) for leaf, each in by_leaf.items()}
    scores = add_biases(loaded, loaded.plan, together, asked)
    found, first = [], 0
    for (place, start, end), text in zip(parts, asked, strict=True):
        mine = {leaf: each[first : first + end - start] for leaf, each in scores.items()}
        found.append(Block(texts[place].tokens[start:end], text.positions, mine))
        first += end - start
    return found


def _read_in_passes(loaded: LoadedFormula, work: Sequence[Reading], chunk: int) -> Parts[None]:
    """Let rows read tokens, at most `chunk` of all of them in a pass."""
    pending: list[Reading] = []
    room = chunk
    for leaf, row, tokens in work:
        start = 0
        while start < len(tokens):
            pending.append((leaf, row, tokens[start : start + room]))
            start, room = start + room, room - len(pending[-1][2])
            if not room:
                _read(loaded, pending)
                yield
                pending, room = [], chunk
    if pending:
        _read(loaded, pending)
        yield


def _read(loaded: LoadedFormula, work: Sequence[Reading], wanted: Sequence[int] | None = None) -> list[Tensor]:
    """Let rows read tokens, all of one session in one pass; the last `wanted` logits of each, or none."""
    counts = wanted or [0] * len(work)
    logits: dict[int, Tensor] = {}
    for session in dict.fromkeys(loaded.sessions[leaf] for leaf, _, _ in work):
        mine = {row: place for place, (leaf, row, _) in enumerate(work) if loaded.sessions[leaf] is session}
        found = session.extend(
            {row: work[place][2] for row, place in mine.items()}, {row: counts[place] for row, place in mine.items()}
        )
        logits |= {place: found[row] for row, place in mine.items()}
    return [logits[place] for place in range(len(work))]
