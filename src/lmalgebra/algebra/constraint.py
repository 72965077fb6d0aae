"""Constraints as terms: which texts a voice may say, as data. The score is 0 for a token that is allowed, else `-inf`.

What they mean is in `lmalgebra.models.constraints`; nothing is checked here that needs a vocabulary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.algebra.bias import Bias
from lmalgebra.algebra.formula import Term
from lmalgebra.algebra.naming import term_name
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import VoiceError

MOST_WORDS = 60
"""Required words of one term: each is a bit of a 64-bit number."""


@dataclass(frozen=True)
class Constraint(Bias):
    """Allows some tokens and forbids all others; mass 0."""

    @property
    def forbids(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True)
class JsonSchema(Constraint):
    """Texts that are JSON and fit a schema, whose JSON text is `schema`."""

    schema: str

    def table(self) -> dict[str, Any]:
        return {"json_schema": self.schema}


@dataclass(frozen=True)
class Regex(Constraint):
    """Texts that a regular expression matches from the first character to the last."""

    pattern: str

    def __post_init__(self) -> None:
        _require_text("regex", self.pattern, 'Write a regular expression, such as "[0-9]{4}-[0-9]{2}".')

    def table(self) -> dict[str, Any]:
        return {"regex": self.pattern}


@dataclass(frozen=True)
class Grammar(Constraint):
    """Texts of a context-free language; `text` is its grammar in Lark's syntax, with the rule `start`."""

    text: str

    def __post_init__(self) -> None:
        _require_text("grammar", self.text, 'Write a Lark grammar, such as \'start: "yes" | "no"\'.')

    def table(self) -> dict[str, Any]:
        return {"grammar": self.text}


@dataclass(frozen=True)
class Required(Constraint):
    """Texts in which all `words` occur as whole words, in this order if `ordered`.

    With `inflections` any form of a word counts, such as "ran" for "run". Upper and lower case are alike.
    """

    words: tuple[str, ...]
    ordered: bool = False
    inflections: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _texts("require", "words", self.words))
        seen: set[str] = set()
        for word in self.words:
            if word.casefold() in seen:
                raise VoiceError(f"The word {shown(word)} is required twice.", "Give it once.")
            seen.add(word.casefold())
            if not any(map(str.isalnum, word)):
                raise VoiceError(f"The required word {shown(word)} has no letter or digit.", "Leave it out.")
        if len(self.words) > MOST_WORDS:
            raise VoiceError(f"{len(self.words)} words are required.", f"Require at most {MOST_WORDS}.")
        _require_bool("ordered", self.ordered)
        _require_bool("inflections", self.inflections)

    def table(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        ordered = {"ordered": True} if self.ordered else {}
        return {"require": list(self.words)} | ordered | ({} if self.inflections else {"inflections": False})


@dataclass(frozen=True)
class Forbidden(Constraint):
    """Texts in which none of `phrases` occurs as whole words, however it is written or cut into tokens.

    After a token the text may not end with a phrase either, so that a longer word can be said where a token goes past
    the phrase. With `exact` it may, and letters must then follow: nothing else is forbidden, but a model that is about
    to say the phrase makes a word of it that there is not.
    """

    phrases: tuple[str, ...]
    exact: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "phrases", _texts("forbid", "phrases", self.phrases))
        _require_bool("exact", self.exact)

    def table(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {"forbid": list(self.phrases)} | ({"exact": True} if self.exact else {})


def json_schema(schema: Mapping[str, Any] | bool | str | os.PathLike[str], *, name: str | None = None) -> Term:
    """A term that allows only JSON of a schema: a mapping, its JSON text, or the path of a .json file.

    A file is read at once. Raises VoiceError for what is no schema, FormulaError for a name that cannot be used.
    """
    described = JsonSchema(_schema_text(schema))
    title = json.loads(described.schema)
    spoken = title["title"] if isinstance(title, dict) and isinstance(title.get("title"), str) else ""
    return _term(f"json {spoken}", described, name)


def regex(pattern: str, *, name: str | None = None) -> Term:
    """A term that allows only texts that `pattern` matches as a whole. Without a name, one is made from the content.

    Raises VoiceError for an empty pattern, FormulaError for a name that cannot be used.
    """
    return _term("regex", Regex(pattern), name)


def grammar(text: str | os.PathLike[str], *, name: str | None = None) -> Term:
    """A term that allows only texts of a Lark grammar: its text, or the path of a .lark file, which is read at once.

    Raises VoiceError for an empty grammar or a missing file, FormulaError for a name that cannot be used.
    """
    is_path = isinstance(text, os.PathLike) or (isinstance(text, str) and text.endswith(".lark") and "\n" not in text)
    return _term("grammar", Grammar(_read(text) if is_path else text), name)  # type: ignore[arg-type]


def require(words: Sequence[str], *, ordered: bool = False, inflections: bool = True, name: str | None = None) -> Term:
    """A term that lets a text end only when all `words` have occurred, and makes them occur in time: see Required.

    Raises VoiceError for what is no list of words, FormulaError for a name that cannot be used.
    """
    described = Required(words, ordered, inflections)  # type: ignore[arg-type]
    return _term(" ".join(("with", *described.words)), described, name)


def forbid(phrases: Sequence[str], *, exact: bool = False, name: str | None = None) -> Term:
    """A term that forbids `phrases`: see Forbidden.

    Raises VoiceError for what is no list of phrases, FormulaError for a name that cannot be used.
    """
    described = Forbidden(phrases, exact)  # type: ignore[arg-type]
    return _term(" ".join(("without", *described.phrases)), described, name)


def _term(spoken: str, described: Constraint, name: str | None) -> Term:
    return Term(term_name(spoken, [described.table()]) if name is None else name, described)


def _schema_text(schema: object) -> str:
    if isinstance(schema, os.PathLike) or (isinstance(schema, str) and schema.endswith(".json")):
        return _parsed(_read(schema), f"The file {os.fspath(schema)!r}")
    if isinstance(schema, str):
        return _parsed(schema, f"json_schema={shown(schema)}")
    if not isinstance(schema, Mapping | bool):
        raise VoiceError(f"json_schema={shown(schema)} is no schema.", "Give a table, JSON text or a .json file.")
    try:
        return json.dumps(dict(schema) if isinstance(schema, Mapping) else schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise VoiceError(f"The schema {shown(schema)} is no JSON: {error}.", "Use what JSON can hold.") from None


def _parsed(text: str, what: str) -> str:
    """The JSON text of a schema, written one way."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VoiceError(f"{what} is not JSON: {error}.", "Give JSON text, or the path of a .json file.") from None
    if not isinstance(schema, dict | bool):
        raise VoiceError(f"{what} holds no JSON schema.", 'A schema is an object such as {"type": "object"}.')
    return json.dumps(schema, ensure_ascii=False, allow_nan=False)


def _read(path: object) -> str:
    place = Path(path)  # type: ignore[arg-type]
    try:
        return place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise VoiceError(f"There is no file {str(place)!r}.", "Check the path.") from None
    except (OSError, ValueError) as error:
        raise VoiceError(f"The file {str(place)!r} cannot be read: {error}.", "Check the path.") from None


def _require_text(key: str, value: object, hint: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise VoiceError(f"{key}={shown(value)} is {'empty' if isinstance(value, str) else 'not text'}.", hint)


def _require_bool(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise VoiceError(f"{key}={shown(value)} is not true or false.", f"Write {key}=True.")


def _texts(key: str, what: str, given: object) -> tuple[str, ...]:
    """A list of texts, none empty."""
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise VoiceError(f"{key}={shown(given)} is not a list of {what}.", f'Write {key}=["one", "two"].')
    if not given:
        raise VoiceError(f"{key}=[] names no {what}.", "Give at least one.")
    for text in given:
        if not isinstance(text, str) or not text.strip():
            raise VoiceError(f"{shown(text)} in {key} is {'empty' if isinstance(text, str) else 'not text'}.")
    return tuple(given)
