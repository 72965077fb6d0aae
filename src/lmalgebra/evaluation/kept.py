"""Values that cost time, kept in a file so that they are computed once."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmalgebra.errors import EvaluationError, LmalgebraError
from lmalgebra.evaluation.prompts import digest

BLOCK = 256
"""Keys that are computed before their values are written."""


class Kept:
    """`compute`, which gives a JSON value for each of several keys, with what it gave kept in `folder`.

    `about` is what the values depend on besides the key; its digest names the file. Where `compute` raises for a block
    of keys, each is tried alone, and one that fails alone has None, which is not kept; `troubles` says why.
    """

    def __init__(
        self, folder: Path, about: dict[str, Any], compute: Callable[[Sequence[Any]], Sequence[Any]], block: int = BLOCK
    ) -> None:
        self.path = folder / f"{digest(about)}.jsonl"
        self.troubles: list[str] = []
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
        failed: set[str] = set()
        for block in _blocks(list(missing), self._block):
            found = self._values([missing[name] for name in block])
            failed |= {name for name, value in zip(block, found, strict=True) if value is None}
            self._keep([(name, value) for name, value in zip(block, found, strict=True) if value is not None])
            advance(len(block))
        return [self._known.get(name) for name in names]

    def _values(self, keys: Sequence[Any]) -> Sequence[Any]:
        try:
            return self._compute(keys)
        except LmalgebraError as error:
            if len(keys) > 1:
                return [value for key in keys for value in self._values([key])]
            self.troubles.append(f"{shortened(keys[0])}: {error.message}")
            return [None]

    def _keep(self, found: Sequence[tuple[str, Any]]) -> None:
        lines = "".join(json.dumps([name, value]) + "\n" for name, value in found)
        with writing(self.path), self.path.open("ab", buffering=0) as file:
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
            self._known = dict(json.loads(line) for line in content[:whole].splitlines())
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
