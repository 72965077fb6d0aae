"""A session with a ledger: every answer is compared with the model reading the same row from its start."""

import random
from collections.abc import Mapping, Sequence

import torch
from backends import VOCABULARY, Backend
from torch import Tensor

from lmalgebra.algebra.adapter import Adapter
from lmalgebra.models.base import Row

TOLERANCE = 1e-4


class Followed:
    """Passes every call on to a fresh session of `backend`, keeps what each row holds, and checks what comes back."""

    def __init__(self, backend: Backend, **limits: int) -> None:
        self.backend = backend
        self.session = backend.new_session(**limits)
        self.tokens: dict[Row, list[int]] = {}
        self.adapters: dict[Row, Adapter | None] = {}

    def open(self, tokens: Sequence[int] = (), room: int = 0, adapter: Adapter | None = None) -> Row:
        row = self.session.open(tokens, adapter, room)
        assert row not in self.tokens
        self.tokens[row], self.adapters[row] = list(tokens), adapter
        return row

    def fork(self, row: Row, length: int | None = None, room: int = 0) -> Row:
        twin = self.session.fork(row, length, room)
        assert twin not in self.tokens
        self.tokens[twin], self.adapters[twin] = self.tokens[row][:length], self.adapters[row]
        return twin

    def rewind(self, row: Row, length: int) -> None:
        self.session.rewind(row, length)
        del self.tokens[row][length:]

    def close(self, row: Row) -> None:
        self.session.close(row)
        del self.tokens[row], self.adapters[row]

    def extend(self, new: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        found = self.session.extend(new, wanted)
        assert set(found) == set(new)
        for row, added in new.items():
            self.tokens[row] += added
            asked = len(added) if wanted is None or row not in wanted else wanted[row]
            self._check(row, found[row], min(asked, len(added)))
        return found

    def extend_last(self, new: Mapping[Row, Sequence[int]]) -> dict[Row, Tensor]:
        """Extend, asking only what follows the last new token of each row."""
        return self.extend(new, dict.fromkeys(new, 1))

    def look_ahead(self, new: Mapping[Row, Sequence[int]], nexts: Mapping[Row, Sequence[Sequence[int]]]) -> None:
        found = self.session.look_ahead(new, nexts)
        assert set(found) == set(new)
        for row, added in new.items():
            self.tokens[row] += added
            self._check(row, found[row].after, min(len(nexts[row]), len(added)))
            firsts = range(len(self.tokens[row]) + 1 - len(nexts[row]), len(self.tokens[row]) + 1)
            texts = [
                [*self.tokens[row][:first], token]
                for first, alternatives in zip(firsts, nexts[row], strict=True)
                for token in alternatives
            ]
            assert len(found[row].nexts) == len(texts)
            for text, logits in zip(texts, found[row].nexts, strict=True):
                expected = self.backend.logits(text)[-1]
                torch.testing.assert_close(logits, expected, rtol=0, atol=TOLERANCE, check_dtype=False)

    def _check(self, row: Row, found: Tensor, count: int) -> None:
        tokens = self.tokens[row]
        assert self.session.length(row) == len(tokens)
        assert found.shape == (count, self.session.vocabulary_size)
        assert found.dtype in (torch.float32, torch.float64)
        if count:
            expected = self.backend.logits(tokens, self.adapters[row])[-count:]
            torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE, check_dtype=False)

    def check_all(self) -> None:
        """Every row is as the ledger says, and reads on as it should: one more token each, taken back again."""
        for row, tokens in self.tokens.items():
            assert self.session.length(row) == len(tokens)
        self.extend({row: [3] for row in self.tokens})
        for row, tokens in self.tokens.items():
            self.rewind(row, len(tokens) - 1)


def some_tokens(count: int, seed: int = 0) -> list[int]:
    """Random tokens, the same at every call."""
    draw = random.Random(f"{seed}:{count}")
    return [draw.randrange(VOCABULARY - 1) for _ in range(count)]
