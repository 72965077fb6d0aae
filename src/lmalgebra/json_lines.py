"""JSON Lines as users write them: blank lines are skipped, and what is wrong is said with file and line."""

import json
from collections.abc import Iterable, Iterator
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
