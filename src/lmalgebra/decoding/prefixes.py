"""Reuse of what rows have already read, between requests that begin alike."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from lmalgebra.alike import common_length
from lmalgebra.decoding.loaded import Home
from lmalgebra.models.base import Row

SHORTEST = 16
"""Tokens that two contexts must share before copying them is worth while."""


class KeptPrefixes:
    """Rows of finished texts, kept for requests that begin like them: at most `most` rows, the latest used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: OrderedDict[tuple[Home, Row], list[int]] = OrderedDict()

    def keep(self, home: Home, row: Row, tokens: list[int]) -> None:
        """Take over `row`, which holds `tokens`."""
        if not self._most:
            home.session.close(row)
            return
        home.session.park(row)
        self._rows[home, row] = tokens
        if len(self._rows) > self._most:
            self.drop()

    def drop(self) -> bool:
        """Give back the row that was not used for longest; False when there is none."""
        if not self._rows:
            return False
        (home, row), _ = self._rows.popitem(last=False)
        home.session.close(row)
        return True

    def best(self, home: Home, context: Sequence[int]) -> tuple[Row | None, int]:
        """The row of `home` that begins most like `context`, and how many tokens they share."""
        known = [(row, tokens) for (its, row), tokens in self._rows.items() if its == home]
        row, shared = most_alike(known, context)
        if row is not None:
            self._rows.move_to_end((home, row))
        return row, shared

    def close(self) -> None:
        """Give all rows back."""
        while self.drop():
            pass


def most_alike(rows: Iterable[tuple[Row, Sequence[int]]], context: Sequence[int]) -> tuple[Row | None, int]:
    """The row whose tokens begin most like `context`, and how many they share."""
    best: tuple[Row | None, int] = (None, 0)
    for row, tokens in rows:
        shared = common_length(tokens, context)
        if shared > best[1]:
            best = row, shared
    return best
