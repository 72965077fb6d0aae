"""What sessions share that count their rows' space to the token."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmalgebra.algebra.adapter import Adapter, AdapterSum, summands
from lmalgebra.errors import CacheFullError
from lmalgebra.models.base import Row, Session
from lmalgebra.models.rows import RowTable, check_length, check_rewind, fork_length


@dataclass(eq=False)
class CountedRow:
    """A row's tokens, of which the first `read` are read, for how many space is taken, and its adapters."""

    tokens: list[int]
    room: int = 0
    read: int = 0
    adapters: AdapterSum = ()
    sequence: int = 0
    """Its number in the engine, where rows have one."""

    @property
    def space(self) -> int:
        return max(self.room, len(self.tokens))


class CountedSession(Session):
    """Rows in a cache of `max_cache_tokens`, or without a bound; each takes its space as if it shared nothing.

    A subclass reads tokens (`extend`), and does to its engine's rows what `_copy` and `_forget` ask for.
    """

    def __init__(self, max_cache_tokens: int | None) -> None:
        self._max_tokens = max_cache_tokens
        self._used = 0
        self._rows: RowTable[CountedRow] = RowTable()

    @abstractmethod
    def _copy(self, original: CountedRow, twin: CountedRow) -> None:
        """Let the new row `twin` hold the first tokens of `original`, which are read."""

    @abstractmethod
    def _forget(self, row: CountedRow) -> None:
        """Take out of the engine's row what is past the tokens that `row` has read."""

    @property
    def room_left(self) -> int | None:
        return None if self._max_tokens is None else self._max_tokens - self._used

    def open(self, tokens: Sequence[int] = (), adapter: Adapter | None = None, room: int = 0) -> Row:
        if adapter is not None:
            self.load_adapter(adapter)
        check_length(len(tokens), self.context_length)
        return self._add(CountedRow(list(tokens), min(room, self.context_length), adapters=summands(adapter)))

    def fork(self, row: Row, length: int | None = None, room: int = 0) -> Row:
        original = self._rows[row]
        length = fork_length(length, len(original.tokens))
        if original.read < length:
            self.extend({row: ()})
        room = min(room, self.context_length)
        twin = self._add(CountedRow(original.tokens[:length], room, length, original.adapters))
        self._copy(original, self._rows[twin])
        return twin

    def _add(self, row: CountedRow) -> Row:
        self._take(row.space)
        return self._rows.add(row)

    def _after(self, tokens: Mapping[Row, Sequence[int]]) -> dict[Row, list[int]]:
        """What rows hold when `tokens` are appended. Raises PromptError past `context_length`."""
        after = {row: [*self._rows[row].tokens, *new] for row, new in tokens.items()}
        for each in after.values():
            check_length(len(each), self.context_length)
        return after

    def _hold(self, after: Mapping[Row, list[int]]) -> None:
        """Let rows hold these tokens, all of them read. Raises CacheFullError, with nothing changed."""
        rows = {row: self._rows[row] for row in after}
        self._take(sum(max(0, len(after[row]) - held.space) for row, held in rows.items()))
        for row, held in rows.items():
            held.tokens, held.read = after[row], len(after[row])

    def _take(self, space: int) -> None:
        if self._max_tokens is not None and self._used + space > self._max_tokens:
            raise CacheFullError(
                f"The key-value cache is full: it holds {self._used} of at most {self._max_tokens} tokens "
                f"and {space} more are needed.",
                "Run fewer samples at once, shorten the prompt, or raise the session's cache limit.",
            )
        self._used += space

    def park(self, row: Row) -> None:
        parked = self._rows[row]
        self._used -= parked.space - len(parked.tokens)
        parked.room = 0

    def rewind(self, row: Row, length: int) -> None:
        held = self._rows[row]
        check_rewind(length, len(held.tokens))
        self._used -= held.space
        del held.tokens[length:]
        self._used += held.space
        held.read = min(held.read, length)
        self._forget(held)

    def close(self, row: Row) -> None:
        held = self._rows.remove(row)
        self._used -= held.space
        held.read = 0
        self._forget(held)

    def length(self, row: Row) -> int:
        return len(self._rows[row].tokens)
