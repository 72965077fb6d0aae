"""Attention over a row cache, for every architecture that Transformers lets plug an attention function into.

The new tokens of all rows are packed into one sequence, `[1, new tokens]`, so that no matrix product is spent on
padding; each token's position is given explicitly. Transformers calls `attend` once per layer with the packed
queries, keys and values; it writes the keys and values to the cache and lets each token see its own row's past.
Transformers builds no mask of its own for an attention function that it does not know, and hands `rows` through.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lmalgebra.models.kv_cache import CachedRow, Slab

NAME = "lmalgebra"

LONG = 16
"""Rows with more new tokens than this are attended to one by one, so that short rows are not padded to them."""

LARGEST_GAP = 2
"""Slots without new tokens that one attention call may step over."""

MANY = 4
"""From so many rows on, matrix products over all of them are faster on a CPU than PyTorch's own attention."""

_HARMLESS = frozenset(
    {"dropout", "is_causal", "position_ids", "use_cache", "output_attentions", "output_hidden_states", "return_dict"}
)


class UnsupportedAttention(Exception):
    """The architecture asks attention for something that `attend` does not know."""


@dataclass(frozen=True)
class Piece:
    """New tokens of one row in a pass: the places `start` to `end` of `row`.

    A token sees the places before its position, and its own. Its position is its place, unless `depths` says
    otherwise: alternatives for one position lie side by side and do not see each other.
    """

    row: CachedRow
    start: int
    end: int
    depths: Sequence[int] | None = None

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def slot(self) -> int:
        return self.row.slot

    @property
    def positions(self) -> Sequence[int]:
        """Of each token its position in a text."""
        return range(self.start, self.end) if self.depths is None else self.depths


@dataclass
class Group:
    """Rows of neighbouring slots whose queries go through one attention call.

    `first`..`last` are their packed tokens; `slots` and `length` bound what is read of the cache. The queries form a
    rectangle `[slots, width]`; `fill` names the packed token of each of its cells and `keep` the cell of each packed
    token, both None when the rectangle is already what was packed. `depths` are the positions of the queries where
    they are not their places.
    """

    first: int
    last: int
    slots: slice
    length: int
    width: int
    many: bool
    positions: Tensor
    fill: Tensor | None
    keep: Tensor | None
    depths: Tensor | None = None
    masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, like: Tensor) -> Tensor:
        """What each query may see, as 0 and -inf: `[slots, 1, width, length]`. A window of w sees w tokens."""
        key = (window, like.dtype)
        if key not in self.masks:
            past = torch.arange(self.length, device=like.device)
            now = places = self.positions[:, :, None]
            hidden = past > now
            if self.depths is not None:
                now = self.depths[:, :, None]
                hidden = (past >= now) & (past != places)
            if window is not None:
                hidden |= past <= now - window
            zeros = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
            self.masks[key] = zeros.masked_fill_(hidden, float("-inf")).unsqueeze(1)
        return self.masks[key]


@dataclass
class Write:
    """Where the packed tokens `first` to `last` belong in `slab`."""

    slab: Slab
    first: int
    last: int
    slots: Tensor
    positions: Tensor
    _places: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, cache: Tensor, new: Tensor) -> None:
        """Write `new`, `[tokens, heads, size]`, to `cache`, `[slots, capacity, heads, size]`."""
        heads, size = new.shape[1:]
        if heads not in self._places:
            first = (self.slots[:, None] * heads + torch.arange(heads, device=new.device)) * self.slab.capacity
            self._places[heads] = (first + self.positions[:, None]).flatten()
        flat = cache.transpose(1, 2).view(-1, size)
        flat.index_copy_(0, self._places[heads], new.reshape(-1, size))


class Layout(Protocol):
    """Which packed token of a pass belongs to which text, and what it sees."""

    windows: dict[int, int | None]
    """What each layer asked for, for the session to check."""

    @property
    def short(self) -> bool:
        """Whether each row has few new tokens, one after another."""

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
        """Of each token what it sees, everything `[tokens, heads, size]`."""


@dataclass
class Pass:
    """The layout of one forward pass: which packed token belongs to which row, and how attention is grouped."""

    pieces: list[Piece]
    writes: list[Write]
    """One for each slab."""
    groups: list[tuple[Slab, list[Group]]]
    windows: dict[int, int | None] = field(default_factory=dict)
    """What each layer asked for, for the session to check."""
    idle: int = 0
    """Packed tokens at the end that belong to no row."""

    @cached_property
    def short(self) -> bool:
        """Whether each row has few new tokens, one after another."""
        return all(piece.count <= LONG and piece.depths is None for piece in self.pieces)

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
        """Write the keys and values to the cache, and let each token see its row's past."""
        for write in self.writes:
            for cache, new in zip(write.slab.layer(layer, keys, values), (keys, values), strict=True):
                write(cache, new[write.first : write.last])
        outputs = [
            _attend_group(group, queries, *slab.layers[layer], scaling, window, cap)
            for slab, groups in self.groups
            for group in groups
        ]
        if self.idle:
            outputs.append(outputs[0].new_zeros(self.idle, *outputs[0].shape[1:]))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def plan_pass(pieces: Sequence[Piece], device: torch.device) -> Pass:
    """Lay out `pieces`, whose rows have room for them, in the order of their slots."""
    ordered = sorted(pieces, key=lambda piece: (_slab(piece).capacity, piece.slot))
    writes, groups, first = [], [], 0
    for _, neighbours in groupby(ordered, key=lambda piece: _slab(piece).capacity):
        mine = list(neighbours)
        slab, count = _slab(mine[0]), sum(map(attrgetter("count"), mine))
        slots = [piece.slot for piece in mine for _ in range(piece.count)]
        positions = [position for piece in mine for position in range(piece.start, piece.end)]
        places = torch.tensor([slots, positions], device=device)
        writes.append(Write(slab, first, first + count, *places))
        groups.append((slab, list(_groups(mine, first, device))))
        first += count
    return Pass(ordered, writes, groups)


def _slab(piece: Piece) -> Slab:
    if piece.row.slab is None:
        raise ValueError("a row without room in the cache cannot be part of a pass")
    return piece.row.slab


def _groups(pieces: list[Piece], first: int, device: torch.device) -> Iterator[Group]:
    run: list[Piece] = []
    for piece in pieces:
        if run and (piece.count > LONG or run[-1].count > LONG or piece.slot - run[-1].slot > LARGEST_GAP):
            yield _group(run, first, device)
            first += sum(map(attrgetter("count"), run))
            run = []
        run.append(piece)
    if run:
        yield _group(run, first, device)


def _group(run: list[Piece], first: int, device: torch.device) -> Group:
    base, span = run[0].slot, run[-1].slot - run[0].slot + 1
    width = max(piece.count for piece in run)
    length = max(piece.end for piece in run)
    many = span >= MANY and width <= LONG and device.type == "cpu"
    count = sum(piece.count for piece in run)
    positions = [[0] * width for _ in range(span)]
    fill = [[0] * width for _ in range(span)]
    depths = [[0] * width for _ in range(span)]
    keep, token = [], 0
    for piece in run:
        slot = piece.slot - base
        positions[slot][: piece.count] = range(piece.start, piece.end)
        depths[slot][: piece.count] = piece.positions
        fill[slot][: piece.count] = range(token, token + piece.count)
        keep += range(slot * width, slot * width + piece.count)
        token += piece.count
    exact = count == span * width
    return Group(
        first=first,
        last=first + count,
        slots=slice(base, base + span),
        length=_whole(length, _slab(run[0]).capacity) if many else length,
        width=width,
        many=many,
        positions=torch.tensor(positions, device=device),
        fill=None if exact else torch.tensor(fill, device=device).flatten(),
        keep=None if exact else torch.tensor(keep, device=device),
        depths=torch.tensor(depths, device=device) if any(piece.depths is not None for piece in run) else None,
    )


def _whole(length: int, capacity: int) -> int:
    """How much of its rows a matrix product reads: it copies what is not a slab's full length, and each length is new
    to oneDNN, which then makes a kernel."""
    return capacity if capacity <= 2 * length else min(capacity, -(-length // 32) * 32)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    rows: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """Write the packed keys and values `[1, heads, tokens, size]` to the cache and attend, row by row.

    Returns `[1, tokens, query heads, size]`. Raises UnsupportedAttention for anything asked that it does not know.
    """
    unknown = [name for name, given in others.items() if given is not None and name not in _HARMLESS]
    if rows is None or attention_mask is not None or unknown:
        raise UnsupportedAttention(", ".join(unknown) or "a mask of its own")
    packed = (each[0].transpose(0, 1) for each in (query, key, value))
    return attend_packed(module.layer_idx, *packed, rows, scaling, sliding_window, softcap).unsqueeze(0), None


def attend_packed(
    layer: int,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    rows: Layout,
    scaling: float | None = None,
    window: int | None = None,
    cap: float | None = None,
) -> Tensor:
    """What `attend` does, with everything `[tokens, heads, size]`."""
    rows.windows[layer] = window
    return rows.attend(layer, queries, keys, values, scaling, window, cap)


def _attend_group(
    group: Group,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    scaling: float | None,
    window: int | None,
    cap: float | None,
) -> Tensor:
    heads, size = queries.shape[1:]
    mine = queries[group.first : group.last]
    if group.fill is not None:
        mine = mine[group.fill]
    mine = mine.reshape(-1, group.width, heads, size)
    key, value = (cache[group.slots, : group.length].transpose(1, 2) for cache in (keys, values))
    mask = group.mask(window, queries)
    if cap is not None:
        out = capped(mine.transpose(1, 2), key, value, mask, scaling, cap).transpose(1, 2)
    elif group.width > LONG and group.depths is None:
        out = scaled_dot_product_attention(
            mine.transpose(1, 2), key, value, attn_mask=mask, scale=scaling, enable_gqa=heads != key.shape[1]
        ).transpose(1, 2)
    else:
        compute = _products if group.many or group.depths is not None else _built_in
        out = _folded(mine, key, value, mask, scaling, compute)
    out = out.reshape(-1, heads, value.shape[-1])
    return out if group.keep is None else out[group.keep]


def _folded(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, compute: Callable[..., Tensor]
) -> Tensor:
    """Attention with the query heads that share a key head laid side by side as queries, so no key is repeated.

    `query` is `[slots, width, query heads, size]`, as is the result.
    """
    slots, width, heads, size = query.shape
    shared = key.shape[1]
    group = heads // shared
    folded = query.view(slots, width, shared, group, size).permute(0, 2, 3, 1, 4).reshape(slots, shared, -1, size)
    tiled = mask.expand(slots, group, width, -1).reshape(slots, 1, group * width, -1) if width > 1 else mask
    out = compute(folded, key, value, tiled, scaling)
    out = out.view(slots, shared, group, width, -1).permute(0, 3, 1, 2, 4)
    return out.reshape(slots, width, heads, -1)


def _built_in(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)


def _products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """Attention in matrix products over all rows and heads, everything `[slots, heads, tokens, size]`."""
    scores = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)).view(*query.shape[:3], -1)
    scores = torch.add(mask, scores, alpha=scaling if scaling is not None else query.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1).flatten(0, 1), value.flatten(0, 1)).view(*query.shape[:3], -1)


def capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, cap: float) -> Tensor:
    """Attention whose logits are squashed to (-cap, cap), as in Gemma 2 (arXiv 2408.00118); `[slots, heads, ...]`."""
    repeat = query.shape[1] // key.shape[1]
    key, value = (cache.repeat_interleave(repeat, dim=1) for cache in (key, value))
    logits = query @ key.transpose(2, 3) * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    logits = cap * torch.tanh(logits / cap) + mask
    return torch.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype) @ value
