"""The text of a voice file to a voice, refusing every key, type and name that does not fit."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lmalgebra.algebra.adapter import Adapter, as_adapter, relocated
from lmalgebra.algebra.bias import classifier
from lmalgebra.algebra.constraint import forbid, grammar, json_schema, regex, require
from lmalgebra.algebra.describe import Model
from lmalgebra.algebra.formula import Term
from lmalgebra.algebra.parse import parse
from lmalgebra.algebra.settings import GenerationSettings
from lmalgebra.algebra.voice import MODEL_KEYS, PLACE_KEYS, RELATIVE, TERM_KEYS, Voice
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import DecodingError, FormulaError, VoiceError

BIASES: dict[str, tuple[Callable[..., Term], tuple[str, ...]]] = {
    "classifier": (classifier, ("label", "sign", "top_k", "reads")),
    "json_schema": (json_schema, ()),
    "regex": (regex, ()),
    "grammar": (grammar, ()),
    "require": (require, ("ordered", "inflections")),
    "forbid": (forbid, ("exact",)),
}
"""Terms that are no language models, by the key that tells them, with the other keys that each may have."""


def parse_voice(text: str, origin: str = "the voice", folder: Path | None = None) -> Voice:
    """The voice that a TOML text holds. `origin` names the text in errors.

    A `source` or `adapter` that starts with ./ or ../, or that names something in `folder`, starts at `folder`.
    Raises VoiceError for a text that is no voice, FormulaError for its formula.
    """
    return _File(origin, folder).voice(_tables(text, origin))


def _tables(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise VoiceError(f"{origin} is not valid TOML: {error}.", "Mend it there; text needs quotes.") from None
    except RecursionError:
        raise VoiceError(f"{origin} nests too deeply to be a voice.", "Write flat tables.") from None


class _File:
    """Reads the tables of one voice file."""

    def __init__(self, origin: str, folder: Path | None) -> None:
        self.origin = origin
        self.folder = folder

    def voice(self, content: Mapping[str, Any]) -> Voice:
        self._known_keys("a voice file", content, ("formula", "models", "terms", "generation"))
        if "formula" not in content:
            raise self._error("the formula is missing.", 'Add a line such as formula = "base".')
        formula_text = self._text("formula", content["formula"])
        models = {name: self._model(name, table) for name, table in self._named("models", content)}
        if not models:
            raise self._error("no model is declared.", 'Add [models.small] with source = "...".')
        terms = {name: self._term(name, table, models) for name, table in self._named("terms", content)}
        settings = self._settings(self._table("[generation]", content.get("generation", {})))
        try:
            return Voice(parse(formula_text, terms), settings, tuple(terms.values()), tuple(models.values()))
        except FormulaError as error:
            raise FormulaError(f"{self.origin}: {error.message}", error.hint) from None

    def _model(self, name: str, table: Mapping[str, Any]) -> Model:
        title = f"[models.{name}]"
        self._known_keys(title, table, MODEL_KEYS)
        if "source" not in table:
            raise self._error(f"{title} has no source.", 'Add source = "...": a name, hub id, folder or .gguf file.')
        values = dict(table)
        for key in table.keys() - {"top_logprobs"}:
            text = self._text(f"{key} of {title}", table[key])
            values[key] = self._resolved(text) if key in ("source", "tokenizer") else text
        try:
            return Model(**values | {"name": name})
        except VoiceError as error:
            raise self._error(f"{title}: {error.message}", error.hint) from None

    def _term(self, name: str, table: Mapping[str, Any], models: Mapping[str, Model]) -> Term:
        title = f"[terms.{name}]"
        if kind := next((key for key in BIASES if key in table), None):
            return self._bias(name, title, kind, table)
        self._known_keys(title, table, ("model", *TERM_KEYS))
        texts = {key: value for key, value in table.items() if key != "adapter"}
        values = {key: self._text(f"{key} of {title}", value) for key, value in texts.items()}
        model = self._model_of(title, values.pop("model", None), models)
        try:
            return model.term(name=name, adapter=self._adapter(table.get("adapter")), **values)
        except (FormulaError, VoiceError) as error:
            raise self._error(f"{title}: {error.message}", error.hint) from None

    def _bias(self, name: str, title: str, kind: str, table: Mapping[str, Any]) -> Term:
        make, keys = BIASES[kind]
        self._known_keys(title, table, (kind, *keys))
        values = dict(table)
        if kind in PLACE_KEYS and not isinstance(values[kind], dict | bool):
            values[kind] = self._resolved(self._text(f"{kind} of {title}", values[kind]))
        try:
            return make(values.pop(kind), name=name, **values)
        except (FormulaError, VoiceError) as error:
            raise self._error(f"{title}: {error.message}", error.hint) from None

    def _adapter(self, given: object) -> Adapter | None:
        """An adapter, or a weighted sum, with each place as `_resolved` gives it. Raises VoiceError."""
        adapter = as_adapter(given)
        return adapter if adapter is None else relocated(adapter, self._resolved)

    def _model_of(self, title: str, name: str | None, models: Mapping[str, Model]) -> Model:
        if name is None:
            if len(models) != 1:
                raise self._error(f"{title} does not say its model.", f"Add model = one of: {', '.join(models)}.")
            return next(iter(models.values()))
        if name not in models:
            hint = _closest(name, models) or f"Declared: {', '.join(models)}."
            raise self._error(f"{title} names the model '{name}', which is not declared.", hint)
        return models[name]

    def _settings(self, table: Mapping[str, Any]) -> GenerationSettings:
        self._known_keys("[generation]", table, [field.name for field in fields(GenerationSettings)])
        try:
            return GenerationSettings(**table)
        except DecodingError as error:
            raise self._error(f"[generation]: {error.message}", error.hint) from None

    def _resolved(self, place: str) -> str:
        """An adapter or source, made absolute where it is a path relative to the voice file."""
        if self.folder is None or not place or Path(place).is_absolute():
            return place
        beside = self.folder.absolute() / place
        return os.path.normpath(beside) if place.startswith(RELATIVE) or _exists(beside) else place

    def _named(self, key: str, content: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        tables = self._table(f"[{key}]", content.get(key, {}))
        return [(name, self._table(f"[{key}.{name}]", table)) for name, table in tables.items()]

    def _table(self, title: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(f"{title} is {_kind(value)}; a table was expected.", f"Start it with the line {title}.")
        return value

    def _text(self, what: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._error(f"{what} is {_kind(value)}; text was expected.", "Put it in quotes.")
        return value

    def _known_keys(self, title: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                hint = _closest(key, known) or f"Known keys: {', '.join(known)}."
                raise self._error(f"{title} has no key '{key}'.", hint)

    def _error(self, message: str, hint: str) -> VoiceError:
        return VoiceError(f"{self.origin}: {message}", hint)


def _closest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{found[0]}'?" if found else ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no possible path, so no file
        return False


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table", str: "text"}
    return f"{shown(value)}, {names.get(type(value), 'something else')}"
