"""Packed attention against attention written out for one query at a time."""

import math
import random
from types import SimpleNamespace

import pytest
import torch

from lmalgebra.models.attention import LONG, Piece, UnsupportedAttention, attend, plan_pass
from lmalgebra.models.kv_cache import CachedRow, KVCache

HEADS, SHARED, SIZE = 4, 2, 8
LAYER = SimpleNamespace(layer_idx=0)


class Written:
    """Rows whose keys, values and queries of every position are known."""

    def __init__(self, lengths: list[int], seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.queries, self.keys, self.values = (
            [torch.randn(length, heads, SIZE, generator=draw) for length in lengths]
            for heads in (HEADS, SHARED, SHARED)
        )
        self.cache = KVCache(4096, 1 << 16)
        self.rows = [CachedRow() for _ in lengths]

    @torch.inference_mode()
    def attend(self, ends: dict[int, int], **options) -> dict[int, torch.Tensor]:
        """Read each row up to its end in one pass; returns the outputs of its new positions."""
        pieces = []
        for number, end in ends.items():
            row = self.rows[number]
            self.cache.reserve(row, end)
            pieces.append(Piece(row, row.cached, end))
        layout = plan_pass(pieces, torch.device("cpu"))
        order = [(self.rows.index(piece.row), piece) for piece in layout.pieces]
        packed = [
            torch.cat([each[number][piece.start : piece.end] for number, piece in order]).transpose(0, 1)[None]
            for each in (self.queries, self.keys, self.values)
        ]
        out, _ = attend(LAYER, *packed, None, rows=layout, **options)
        found = dict(zip([n for n, _ in order], out[0].split([piece.count for _, piece in order]), strict=True))
        for number, end in ends.items():
            self.rows[number].cached = end
        return found

    def expected(self, number: int, start: int, end: int, window=None, softcap=None, scaling=None) -> torch.Tensor:
        """One query and head after another."""
        scaling = SIZE**-0.5 if scaling is None else scaling
        out = torch.zeros(end - start, HEADS, SIZE)
        for position in range(start, end):
            first = 0 if window is None else max(0, position - window + 1)
            for head in range(HEADS):
                shared = head * SHARED // HEADS
                keys, values = (each[number][first : position + 1, shared] for each in (self.keys, self.values))
                scores = keys @ self.queries[number][position, head] * scaling
                if softcap is not None:
                    scores = softcap * torch.tanh(scores / softcap)
                out[position - start, head] = scores.softmax(0) @ values
        return out


@pytest.mark.parametrize(
    "options",
    [{}, {"sliding_window": 5}, {"softcap": 2.0}, {"sliding_window": 3, "softcap": 1.5}, {"scaling": 0.9}],
    ids=str,
)
@pytest.mark.parametrize("seed", range(3))
def test_packed_rows_attend_to_their_own_past(options, seed):
    draw = random.Random(seed)
    written = Written([60] * 7, seed)
    reached = [0] * 7
    for _ in range(8):
        chosen = draw.sample(range(7), draw.randint(1, 7))
        ends = {number: min(60, reached[number] + draw.choice([1, 1, 3, LONG + 4])) for number in chosen}
        ends = {number: end for number, end in ends.items() if end > reached[number]}
        if not ends:
            continue
        for number, found in written.attend(ends, **options).items():
            given = {"window" if key == "sliding_window" else key: value for key, value in options.items()}
            expected = written.expected(number, reached[number], ends[number], **given)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
            reached[number] = ends[number]


def test_rows_of_different_slabs_share_a_pass():
    written = Written([300, 20, 140])
    written.attend({0: 290, 1: 10, 2: 135})
    for number, found in written.attend({1: 11, 0: 293, 2: 136}).items():
        start = {0: 290, 1: 10, 2: 135}[number]
        expected = written.expected(number, start, start + len(found))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_window_of_one_sees_only_the_token_itself():
    written = Written([6])
    found = written.attend({0: 6}, sliding_window=1)[0]
    own = written.values[0].repeat_interleave(HEADS // SHARED, dim=1)
    torch.testing.assert_close(found, own, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"s_aux": torch.ones(4)}, "s_aux"), ({"head_mask": 1, "other": 2}, "head_mask, other")],
)
def test_what_attention_is_asked_and_does_not_know_is_named(options, named):
    with pytest.raises(UnsupportedAttention, match=f"^{named}$"):
        Written([3]).attend({0: 3}, **options)


def test_a_mask_of_the_models_own_is_refused():
    some = torch.zeros(1, HEADS, 1, SIZE)
    row = CachedRow()
    KVCache(16, 1024).reserve(row, 1)
    layout = plan_pass([Piece(row, 0, 1)], torch.device("cpu"))
    for mask, rows in ((torch.zeros(1, 1, 1, 1), layout), (None, None)):
        with pytest.raises(UnsupportedAttention, match="a mask of its own"):
            attend(LAYER, some, some, some, mask, rows=rows)


def test_a_piece_is_as_long_as_its_positions():
    row = CachedRow()
    with pytest.raises(ValueError, match="without room in the cache"):
        plan_pass([Piece(row, 0, 2)], torch.device("cpu"))
    assert math.isclose(Piece(row, 3, 8).count, 5)
