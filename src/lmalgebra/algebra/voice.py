"""A voice: a formula, what its terms stand for, and defaults of generation; kept in a TOML file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from lmalgebra.algebra.adapter import relocated, summands
from lmalgebra.algebra.bias import Bias
from lmalgebra.algebra.describe import Model, ModelTerm
from lmalgebra.algebra.formula import Formula, Term
from lmalgebra.algebra.mass import check
from lmalgebra.algebra.parse import parse
from lmalgebra.algebra.remote import LOCAL_KEYS, REMOTE_KEYS
from lmalgebra.algebra.settings import GenerationSettings
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import VoiceError

MODEL_KEYS = ("source", *LOCAL_KEYS, *REMOTE_KEYS)
TERM_KEYS = ("system", "prefix", "chat_template", "template", "adapter")
PLACE_KEYS = ("classifier", "json_schema", "grammar")
"""Keys of terms that are no language models whose value may be a path."""

RELATIVE = ("./", "../")
"""How a path starts that is relative: to a voice file in that file, to the current folder in Python."""


@dataclass(frozen=True)
class Voice:
    """A formula with a distribution, its terms and models, and defaults of generation.

    `terms` are the formula's, in order of appearance, then any extra ones given; `models` are the terms', then any
    extra ones given. Raises FormulaError when the formula has no distribution, VoiceError when two different terms or
    models share a name.
    """

    formula: Formula
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    terms: tuple[Term, ...] = ()
    models: tuple[Model, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.formula, Formula):
            raise VoiceError(f"{shown(self.formula)} is not a formula.", "Build one from terms, or use parse(text).")
        check(self.formula)
        terms = tuple(dict.fromkeys((*self.formula.leaves(), *self.formula.gauges(), *self.terms)))
        used = [term.description.model for term in terms if isinstance(term.description, ModelTerm)]
        models = tuple(dict.fromkeys((*used, *self.models)))
        _require_distinct("terms", [term.name for term in terms])
        _require_distinct("models", [model.name for model in models])
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "models", models)

    def with_models(self, models: Iterable[Model]) -> Voice:
        """The voice with each of its models replaced by the one of the same name in `models`."""
        by_name = {model.name: model for model in models}
        terms = {term.name: _on_model(term, by_name) for term in self.terms}
        formula = parse(str(self.formula), terms)
        return replace(self, formula=formula, terms=tuple(terms.values()), models=tuple(by_name.values()))

    def to_dict(self) -> dict[str, Any]:
        """The voice file's content as plain dictionaries, only what differs from the defaults.

        Raises VoiceError for a term that a voice file cannot hold.
        """
        content: dict[str, Any] = {"formula": str(self.formula)}
        content["models"] = {model.name: _model_table(model) for model in self.models}
        content["terms"] = {term.name: _term_table(term) for term in self.terms}
        generation = _changed_settings(self.settings)
        return content | ({"generation": generation} if generation else {})


def load_voice(path: str | os.PathLike[str]) -> Voice:
    """The voice that a TOML file holds; paths in it that are relative start at the file's folder.

    Raises VoiceError for a file that cannot be read or used, FormulaError for its formula.
    """
    from lmalgebra.algebra.voice_file import parse_voice

    place = Path(path)
    try:
        text = place.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise VoiceError(f"There is no voice file {str(place)!r}.", "Check the path, or make one first.") from None
    except IsADirectoryError:
        raise VoiceError(f"{str(place)!r} is a folder, not a voice file.", "Name the .toml file in it.") from None
    except UnicodeDecodeError:
        raise VoiceError(f"{str(place)!r} is not UTF-8 text.", "Save the voice file as UTF-8.") from None
    except (OSError, ValueError) as error:
        raise VoiceError(
            f"The voice file {str(place)!r} cannot be read: {_reason(error)}.", "Check the path."
        ) from None
    return parse_voice(text, origin=str(place), folder=place.parent)


def dump_voice(voice: Voice) -> str:
    """The text of a voice file that reads back to an equal voice.

    Raises VoiceError for a term that a voice file cannot hold, FormulaError for a formula too long to read back.
    """
    content = voice.to_dict()
    parse(content["formula"])  # refuses what could be written but not read
    return tomli_w.dumps(content)


def save_voice(voice: Voice, path: str | os.PathLike[str]) -> None:
    """Write a voice file, whole or not at all: the text goes to a new file beside it, which then takes its place.

    Raises VoiceError when the folder is missing or cannot be written to, and what `dump_voice` raises.
    """
    place = Path(path)
    text = dump_voice(voice)
    if os.path.isdir(place):
        raise VoiceError(f"{str(place)!r} is a folder, so no voice can be saved there.", "Add a file name.")
    if not os.path.isdir(place.parent):
        raise VoiceError(f"There is no folder {str(place.parent)!r} to save a voice in.", "Make it first.")
    beside = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        _write_through(beside, text)
        os.replace(beside, place)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            beside.unlink(missing_ok=True)
        raise VoiceError(
            f"The voice cannot be saved as {str(place)!r}: {_reason(error)}.", "Choose a folder you can write to."
        ) from None


def _write_through(place: Path, text: str) -> None:
    """Write a file and wait until the disk has it."""
    with place.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def new_voice_text(source: str = "smollm2-135m") -> str:
    """A commented voice file to start from, over one model."""
    return NEW_VOICE.replace('"smollm2-135m"', tomli_w.dumps({"x": source}).strip().removeprefix("x = "))


NEW_VOICE = """\
# A voice says how a language model speaks: a formula over terms.
# More about formulas: + - * /, union, intersection, tilt, mix, power, within.
formula = "base + 0.6 * (formal - base)"

[models.small]
source = "smollm2-135m"   # a catalogue name, a hub id, a folder or a .gguf file

# A term is a model under a prompt.
[terms.base]
model = "small"
system = "You are a helpful assistant."

[terms.formal]
model = "small"
system = "You answer in formal, objective language."

# Defaults, which a command or a call may override.
[generation]
max_new_tokens = 64       # tokens
temperature = 1.0         # 0 is greedy
"""


def _on_model(term: Term, models: Mapping[str, Model]) -> Term:
    if not isinstance(term.description, ModelTerm):
        return term
    return replace(term, description=replace(term.description, model=models[term.description.model.name]))


def _model_table(model: Model) -> dict[str, str | int]:
    table: dict[str, str | int] = {"source": _absolute(model.source)}
    for key in fields(model):
        value = getattr(model, key.name)
        if key.name in MODEL_KEYS[1:] and value != key.default:
            table[key.name] = _absolute(value) if key.name == "tokenizer" else value
    return table


def _absolute(place: str) -> str:
    """A path relative to the current folder, made independent of it; anything else as it is."""
    return os.path.abspath(place) if place.startswith(RELATIVE) else place


def _term_table(term: Term) -> dict[str, Any]:
    description = term.description
    if description is None:
        raise VoiceError(
            f"The term '{term.name}' stands for no model, so a voice file cannot hold it.",
            "Make it with Model(source).term(name=...).",
        )
    if isinstance(description, Bias):
        return {key: _absolute(value) if key in PLACE_KEYS else value for key, value in description.table().items()}
    if not isinstance(description, ModelTerm):
        kind = type(description).__name__
        raise VoiceError(f"The term '{term.name}' is a {kind}, which a voice file cannot hold.", "Save it in Python.")
    given = {key: getattr(description, key) for key in TERM_KEYS}
    if description.adapter is not None:
        adapter = relocated(description.adapter, _absolute)
        given["adapter"] = adapter if isinstance(adapter, str) else dict(summands(adapter))
    return {"model": description.model.name} | {key: value for key, value in given.items() if value is not None}


def _changed_settings(settings: GenerationSettings) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if value != setting.default:
            changed[setting.name] = list(value) if isinstance(value, tuple) else value
    return changed


def _require_distinct(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise VoiceError(f"Two different {kind} are both named '{name}'.", "Give each its own name.")
        seen.add(name)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
