"""Values that cost time, kept in a file so that they are computed once."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmalgebra.errors import EvaluationError, LmalgebraError, PromptError
from lmalgebra.models.fingerprint import digest

BLOCK = 256
"""Keys that are computed before their values are written."""

TOLD = 5
"""Keys without a value of which it is said why; the others are counted."""


class Kept:
    """`compute`, which gives a JSON value for each of several keys, with what it gave kept in `folder`.

    `about` is what the values depend on besides the key; its digest names the file. Where `compute` refuses a block of
    keys (EvaluationError, PromptError), its halves are tried. A key that is refused alone, or for which it gives an
    EvaluationError as value, has None, which is not kept; `troubles` says why. Any other error is of no single key,
    and ends it all.
    """

    def __init__(
        self, folder: Path, about: dict[str, Any], compute: Callable[[Sequence[Any]], Sequence[Any]], block: int = BLOCK
    ) -> None:
        self.path = folder / f"{digest(about)}.jsonl"
        self._refused: list[str] = []
        self._compute, self._block = compute, block
        self._known: dict[str, Any] = {}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._read(about)

    def __call__(self, keys: Sequence[Any], advance: Callable[[int], None] = lambda done: None) -> list[Any]:
        """The value of each key, None where there is none; `advance` hears how many are done."""
        names = [digest(key, 32) for key in keys]
        missing = {name: key for name, key in zip(names, keys, strict=True) if name not in self._known}
        advance(len(keys) - len(missing))
        for block in _blocks(list(missing), self._block):
            found = self._values([missing[name] for name in block])
            self._keep([(name, value) for name, value in zip(block, found, strict=True) if value is not None])
            advance(len(block))
        return [self._known.get(name) for name in names]

    @property
    def troubles(self) -> list[str]:
        """Why keys have no value: of the first few, and how many more there are."""
        more = len(self._refused) - TOLD
        return self._refused[:TOLD] + ([f"... and so {more:,} more."] if more > 0 else [])

    def _values(self, keys: Sequence[Any]) -> Sequence[Any]:
        try:
            found = self._compute(keys)
        except (EvaluationError, PromptError) as error:
            if len(keys) > 1:
                middle = len(keys) // 2
                return [*self._values(keys[:middle]), *self._values(keys[middle:])]
            found = [error]
        return [self._told(key, value) for key, value in zip(keys, found, strict=True)]

    def _told(self, key: Any, value: Any) -> Any:
        if not isinstance(value, LmalgebraError):
            return value
        self._refused.append(f"{shortened(key)}: {value.message}")
        return None

    def _keep(self, found: Sequence[tuple[str, Any]]) -> None:
        lines = "".join(json.dumps([name, value]) + "\n" for name, value in found)
        with writing(self.path), self.path.open("ab") as file:
            file.write(lines.encode())
        self._known.update(found)

    def _read(self, about: dict[str, Any]) -> None:
        self.path.with_suffix(".json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        os.truncate(self.path, whole)  # what a stop has torn
        try:
            self._known = {str(name): value for name, value in map(json.loads, content[:whole].splitlines())}
        except (ValueError, TypeError):
            raise EvaluationError(
                f"'{self.path}' is damaged.", "Remove that file; its values will be computed again."
            ) from None


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Says in a sentence what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"'{place}' cannot be written: {error.strerror}.", "Free some space, or name another folder with --cache."
        ) from None


def shortened(value: object, most: int = 60) -> str:
    """A value as it is shown in a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"


def _blocks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
