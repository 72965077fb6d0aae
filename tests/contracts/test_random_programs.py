"""Random programs over a session: whatever happens to its rows, and in whatever order, each reads as if alone."""

import random

import pytest
from backends import BOUNDED_NAMES, backend
from followed import Followed, some_tokens

from lmalgebra.errors import CacheFullError

STEPS = 40
MOST_ROWS = 9
ROOMS = [0, 0, 3, 60, 300]
BOUND = 6 * 128


class Program:
    """Draws one operation after another; those that are asked for often come often."""

    def __init__(self, rows: Followed, seed: int) -> None:
        self.rows = rows
        self.draw, self.laid_over = random.Random(seed), random.Random(f"{seed} adapters")
        self.refused = 0

    def run(self, steps: int = STEPS) -> None:
        operations = {self.extend: 8, self.open: 4, self.fork: 3, self.rewind: 3, self.close: 2, self.park: 2}
        for _ in range(steps):
            (operation,) = self.draw.choices(list(operations), list(operations.values()))
            room_left = self.rows.session.room_left
            try:
                operation()
            except CacheFullError:
                self.refused += 1
                if operation != self.fork:  # which may have read its row
                    assert self.rows.session.room_left == room_left

    def open(self) -> None:
        if len(self.rows.tokens) < MOST_ROWS:
            adapter = self.laid_over.choice([None, None, *(self.rows.backend.adapters or ())])
            self.rows.open(some_tokens(self.draw.choice([0, 1, 5, 30, 126])), self.draw.choice(ROOMS), adapter)

    def fork(self) -> None:
        if 0 < len(self.rows.tokens) < MOST_ROWS:
            row = self._row()
            length = self.draw.choice([None, self.draw.randint(0, len(self.rows.tokens[row]))])
            self.rows.fork(row, length, self.draw.choice(ROOMS))

    def park(self) -> None:
        if self.rows.tokens:
            self.rows.session.park(self._row())

    def rewind(self) -> None:
        if self.rows.tokens:
            row = self._row()
            self.rows.rewind(row, self.draw.randint(0, len(self.rows.tokens[row])))

    def close(self) -> None:
        if self.rows.tokens:
            self.rows.close(self._row())

    def extend(self) -> None:
        chosen = [row for row in self.rows.tokens if self.draw.random() < 0.7]
        self.draw.shuffle(chosen)
        longest = self.draw.choice([1, 1, 4, 40])
        new = {row: some_tokens(self.draw.randint(0, longest), self.draw.randrange(1000)) for row in chosen}
        wanted = {row: self.draw.randint(0, longest) for row in chosen if self.draw.random() < 0.7}
        self.rows.extend(new, self.draw.choice([None, wanted]))

    def _row(self):
        return self.draw.choice(list(self.rows.tokens))


@pytest.mark.parametrize("seed", range(3))
def test_a_random_program_gives_what_fresh_single_rows_give(rows, seed):
    Program(rows, seed).run()
    rows.check_all()


@pytest.mark.usefixtures("small_passes")
def test_a_random_program_of_small_passes_gives_what_fresh_single_rows_give(rows):
    Program(rows, seed=100).run()
    rows.check_all()


@pytest.mark.parametrize("name", BOUNDED_NAMES)
def test_a_random_program_in_a_small_cache_is_refused_now_and_then_and_gives_the_same(name):
    rows = Followed(backend(name), max_cache_tokens=BOUND)
    program = Program(rows, seed=200)
    program.run(2 * STEPS)
    assert program.refused > 3
    for row in list(rows.tokens):
        rows.close(row)
    assert rows.session.room_left == BOUND
