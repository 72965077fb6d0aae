"""The text of a formula before it is parsed: what may occur in it, and how an error points into it."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from lmalgebra.errors import FormulaError

MAX_CHARACTERS = 100_000
MAX_BRACKETS = 120
MAX_OPERATORS = 1000

_SHOWN = 100
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<power>\*\*)"
    r"|(?P<operator>[-+*/|&])"
    r"|(?P<open>\()|(?P<close>\))"
    r"|(?P<other>[,=.])"
)


@dataclass(frozen=True)
class Source:
    """A formula's text on one line: each line break or tab became one space, so places stay the same."""

    line: str

    @classmethod
    def read(cls, text: object) -> Source:
        """Check the characters, brackets and size of a text. Raises FormulaError, pointing at the first mistake."""
        if not isinstance(text, str):
            raise FormulaError(f"A formula is text, not {type(text).__name__}.", 'Write one such as "base + formal".')
        if not text.strip():
            raise FormulaError("The formula is empty.", "Write one such as `base + 0.6 * (formal - base)`.")
        if len(text) > MAX_CHARACTERS:
            raise FormulaError(
                f"The formula has {len(text)} characters; at most {MAX_CHARACTERS} are read.",
                "Build it in Python and call simplify().",
            )
        source = cls("".join(" " if character.isspace() else character for character in text))
        _Scan(source).run()
        return source

    def error(self, message: str, start: int, end: int, hint: str = "") -> FormulaError:
        """An error that shows the formula with carets under `start` to `end`."""
        first = max(0, min(start, len(self.line)) - _SHOWN // 2) if len(self.line) > _SHOWN else 0
        window = self.line[first : first + _SHOWN]
        before = "…" if first else ""
        after = "…" if first + _SHOWN < len(self.line) else ""
        carets = "^" * max(1, min(end, first + len(window)) - start)
        pointer = " " * (len(before) + start - first) + carets
        error = FormulaError(f"{message}\n  {before}{window}{after}\n  {pointer}", hint)
        error.place = start, max(end, start + 1)
        return error


class _Scan:
    """One pass over the tokens, before Python's parser sees them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.open_brackets: list[int] = []
        self.operators = 0

    def run(self) -> None:
        line, place = self.source.line, 0
        while place < len(line):
            token = _TOKEN.match(line, place)
            if token is None:
                raise self._unreadable(place)
            self._look(token.lastgroup or "", token.group(), place, token.end())
            place = token.end()
        if self.open_brackets:
            last = self.open_brackets[-1]
            raise self.source.error("This bracket is never closed.", last, last + 1, "Add `)`.")

    def _look(self, kind: str, text: str, start: int, end: int) -> None:
        if kind == "name" and keyword.iskeyword(text):
            raise self.source.error(
                f"`{text}` is a word of Python, which formulas do not use.", start, end, "Name a term or a function."
            )
        if kind == "power":
            raise self.source.error(
                "`**` is not part of formulas.", start, end, "Write power(a, 2) for a power of probabilities."
            )
        if kind == "operator":
            self._count_operator(start)
        if kind == "open":
            self._open(start)
        if kind == "close":
            if not self.open_brackets:
                raise self.source.error("This bracket was never opened.", start, end, "Remove it, or add `(`.")
            self.open_brackets.pop()

    def _count_operator(self, start: int) -> None:
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise self.source.error(
                f"The formula has more than {MAX_OPERATORS} operators.",
                start,
                start + 1,
                "Build it in Python and call simplify(), so that equal operands become one.",
            )

    def _open(self, start: int) -> None:
        self.open_brackets.append(start)
        if len(self.open_brackets) > MAX_BRACKETS:
            raise self.source.error(
                f"The formula nests more than {MAX_BRACKETS} brackets.", start, start + 1, "Use fewer levels."
            )

    def _unreadable(self, place: int) -> FormulaError:
        character = self.source.line[place]
        if character in "\"'":
            return self.source.error("Formulas hold no quoted text.", place, place + 1, "Write a term by its name.")
        if character.isdigit():
            number = re.compile(r"[\w.]+").match(self.source.line, place)
            end = number.end() if number else place + 1
            return self.source.error(
                f"`{self.source.line[place:end]}` is not a number.", place, end, "Write one such as 2, 0.5 or 1e-3."
            )
        return self.source.error(
            f"The character {character!r} is not part of formulas.",
            place,
            place + 1,
            "Formulas use names, numbers, + - * / | & and functions such as union(a, b).",
        )
