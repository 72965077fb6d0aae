"""Settings of long work: a dataclass whose fields a TOML file, the command line and Python all name alike."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from lmalgebra.errors import LmalgebraError

Settings = TypeVar("Settings")


def load(kind: type[Settings], path: Path | None, given: Mapping[str, Any], error: type[LmalgebraError]) -> Settings:
    """The settings of a TOML file, if there is one, with those `given` in their place.

    Paths in the file start where the command is run. Raises `error` for a file that cannot be read, an unknown key, or
    a value that is missing.
    """
    values = (read_toml(path, error) if path is not None else {}) | dict(given)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
            raise error(f"{path} has no setting '{key}'.", hint)
    missing = next((name for name, field in known.items() if _is_needed(field) and name not in values), None)
    if missing is not None:
        option = missing.replace("_", "-")
        raise error(f"{missing} is not given.", f"Add --{option} on the command line, or {missing} = ... in a file.")
    return kind(**values)


def read_toml(path: Path, error: type[LmalgebraError]) -> dict[str, Any]:
    """The content of a file of settings. Raises `error`."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise error(f"There is no file of settings '{path}'.", "Check the path.") from None
    except OSError as trouble:
        raise error(f"The settings '{path}' cannot be read: {trouble.strerror}.", "Check the path.") from None
    except ValueError as trouble:
        raise error(f"{path} is not valid TOML: {trouble}.", "Mend it there; text needs quotes.") from None


def check_kinds(settings: Any, error: type[LmalgebraError]) -> None:
    """Let every field of a frozen dataclass of settings hold what its annotation says, or raise `error`."""
    for field in fields(settings):
        value = _of_kind(field.name, str(field.type), getattr(settings, field.name), error)
        object.__setattr__(settings, field.name, value)


def check_ranges(settings: Any, ranges: Mapping[str, tuple[float, float]], error: type[LmalgebraError]) -> None:
    """Raise `error` for a field outside its least and most."""
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            span = f"at least {least}" if most > 4096 else f"a number from {least} to {most}"
            raise error(f"{name} = {value} is out of range.", f"Give {span}.")


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _of_kind(name: str, kind: str, value: Any, error: type[LmalgebraError]) -> Any:
    """`value` as the field wants it: one text where several may stand is a list of one, a whole number is a number."""
    kind, _, rest = kind.partition(" | ")
    if rest == "None" and value is None:
        return None
    if kind.startswith("tuple[float"):
        several = value if isinstance(value, list | tuple) else (value,)
        if all(isinstance(each, int | float) and not isinstance(each, bool) for each in several):
            return tuple(map(float, several))
        raise error(f"{name} = {value!r} is no list of numbers.", "Write it as [0, 0.5, 1].")
    if kind.startswith("tuple"):
        several = (value,) if isinstance(value, str) else value
        if isinstance(several, list | tuple) and all(isinstance(each, str) for each in several):
            return tuple(several)
        raise error(f"{name} = {value!r} is neither text nor a list of texts.", "Put it in quotes.")
    if kind.startswith("Mapping"):
        if isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair):
            return dict(value)
        raise error(f"{name} = {value!r} is no table of texts.", 'Write [section] and lines such as name = "text".')
    kinds = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    names = {"str": "text", "int": "a whole number", "bool": "true or false", "float": "a number"}
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise error(f"{name} = {value!r} is not {names[kind]}.", f"Give {names[kind]}.")
    return float(value) if kind == "float" else value
