"""Random programs over a session: whatever happens to its rows, and in whatever order, each reads as if alone."""

import random

import pytest
from followed import Followed, some_tokens

STEPS = 40
MOST_ROWS = 9


class Program:
    """Draws one operation after another; those that are asked for often come often."""

    def __init__(self, rows: Followed, seed: int) -> None:
        self.rows = rows
        self.draw = random.Random(seed)

    def run(self) -> None:
        for _ in range(STEPS):
            operation = self.draw.choices([self.extend, self.open, self.fork, self.rewind, self.close], [8, 4, 3, 3, 2])
            operation[0]()
        self.rows.check_all()

    def open(self) -> None:
        if len(self.rows.tokens) < MOST_ROWS:
            self.rows.open(some_tokens(self.draw.choice([0, 1, 5, 30, 126])))

    def fork(self) -> None:
        if 0 < len(self.rows.tokens) < MOST_ROWS:
            self.rows.fork(self._row())

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
        self.rows.extend(new, self.draw.choice(["all", "last"]))

    def _row(self):
        return self.draw.choice(list(self.rows.tokens))


@pytest.mark.parametrize("seed", range(3))
def test_a_random_program_gives_what_fresh_single_rows_give(rows, seed):
    Program(rows, seed).run()


@pytest.mark.usefixtures("small_passes")
def test_a_random_program_of_small_passes_gives_what_fresh_single_rows_give(rows):
    Program(rows, seed=100).run()
