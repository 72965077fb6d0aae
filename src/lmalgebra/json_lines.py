"""JSON Lines as users write them: blank lines are skipped, and what is wrong is said with file and line."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from lmalgebra.errors import LmalgebraError


def file_lines(path: str | Path, what: str, error: type[LmalgebraError]) -> list[bytes]:
    """The lines of the file of `what`. Raises `error` when it cannot be read."""
    try:
        return Path(path).expanduser().read_bytes().split(b"\n")
    except FileNotFoundError:
        raise error(f"There is no file of {what} '{path}'.", "Check the path.") from None
    except OSError as trouble:
        raise error(f"The file of {what} '{path}' cannot be read: {trouble.strerror}.", "Check the path.") from None


def parsed(lines: Iterable[bytes], origin: str, error: type[LmalgebraError], hint: str) -> Iterator[tuple[str, Any]]:
    """Each line's value, after its place in words. Raises `error` with that place and, for what is no JSON, `hint`."""
    for number, line in enumerate(lines, 1):
        place = f"{origin}, line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield place, json.loads(text)
        except UnicodeDecodeError:
            raise error(f"{place}: this is not UTF-8 text.", "Save it as UTF-8.") from None
        except (ValueError, RecursionError) as trouble:
            raise error(f"{place}: this is not JSON ({trouble}).", hint) from None


class LinesFile:
    """A file of JSON Lines that grows: what one call adds is one write, and a line that a stop has torn is cut off.

    `what` names its content in sentences. Raises `error` where it cannot be written, or where it already holds
    something and `resume` is not asked for.
    """

    def __init__(self, path: Path, what: str, resume: bool, error: type[LmalgebraError]) -> None:
        self.path, self._what, self._error = path, what, error
        with self._writing():
            if path.exists() and path.stat().st_size > 0:
                self._take_over(resume)
            self._file = path.open("ab", buffering=0)

    def values(self) -> Iterator[Any]:
        """What its lines hold, read as they are asked for."""
        with self.path.open("rb") as lines:
            yield from (value for _, value in parsed(lines, str(self.path), self._error, self._hint))

    def add(self, values: Iterable[Any]) -> None:
        """Append a line for each value, all at once. Raises `error`."""
        lines = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        rest = lines.encode("utf-8", "backslashreplace")
        with self._writing():
            while rest:  # a disk that is full takes a part, and then refuses
                rest = rest[self._file.write(rest) :]

    def keep(self, count: int) -> None:
        """Cut off all but the first `count` lines."""
        with self._writing(), self.path.open("rb") as lines:
            size = sum(len(line) for line in islice(lines, count))
        with self._writing():
            os.truncate(self.path, size)

    def close(self) -> None:
        self._file.close()

    @property
    def _hint(self) -> str:
        return f"This is no file of {self._what}; name another."

    def _take_over(self, resume: bool) -> None:
        if not resume:
            raise self._error(
                f"The output '{self.path}' already holds something.",
                "Add --resume to go on with it, or name another file.",
            )
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if content[whole:] and content[whole : whole + 1] != b"{":  # no line of ours that was torn
            raise self._error(f"The output '{self.path}' ends with no line of {self._what}.", self._hint)
        os.truncate(self.path, whole)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as trouble:
            raise self._error(
                f"The output '{self.path}' cannot be written: {trouble.strerror}.",
                "Name a file in a folder you can write to, with room on its disk.",
            ) from None
