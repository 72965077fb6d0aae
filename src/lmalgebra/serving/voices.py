"""The operator's voices by name: found, opened, warmed up, and opened again when their files change."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock

from lmalgebra.algebra import Formula, ModelTerm, Term, Voice, load_voice
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import ServingError
from lmalgebra.serving.settings import NAME, ServerSettings

log = logging.getLogger("lmalgebra.serving")

KEPT_FORMULAS = 64
"""Formulas of requests that a voice keeps ready; requests that speak by one of them are computed together."""

OpenVoice = Callable[[Voice], ComposedVoice]


@dataclass(frozen=True, eq=False)
class ServedVoice:
    """A voice that requests can name.

    `terms` are those that they may name in formulas, and `created` is when its file was written (seconds since 1970).
    """

    name: str
    composed: ComposedVoice
    terms: Mapping[str, Term]
    created: int
    _spoken: OrderedDict[Formula, ComposedVoice] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def described(self) -> Voice:
        return self.composed.voice

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the voice or its settings do."""
        terms = [(term.name, term.description) for term in self.described.terms]
        text = f"{self.described.formula}\n{terms}\n{self.described.settings}"
        return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def speaking(self, formula: Formula) -> ComposedVoice:
        """The voice speaking by `formula`: its own, or one that is kept. Raises FormulaError and VoiceError."""
        if formula == self.described.formula:
            return self.composed
        with self._lock:
            if formula in self._spoken:
                self._spoken.move_to_end(formula)
                return self._spoken[formula]
        spoken = self.composed.with_formula(formula)
        with self._lock:
            self._spoken[formula] = spoken
            if len(self._spoken) > KEPT_FORMULAS:
                self._spoken.popitem(last=False)
        return spoken

    def spoken(self) -> list[ComposedVoice]:
        """What it speaks by now, for statistics."""
        with self._lock:
            return [self.composed, *self._spoken.values()]

    def open(self) -> None:
        """Load its models, and those of the terms that requests may name. Raises LmalgebraError."""
        speakers = self.composed.loaded.plan.speakers
        for term in self.terms.values():
            if term not in self.composed.plan.leaves:
                alone = isinstance(term.description, ModelTerm)
                self.speaking(term if alone else speakers[0] + term).loaded  # noqa: B018


@dataclass(frozen=True)
class _Found:
    """A voice file, and how its content was when it was last read."""

    path: Path
    state: tuple[int, int]


class Voices:
    """All voices of a server. `open_voice` gives a voice its models; `get` may be called from any thread."""

    def __init__(self, settings: ServerSettings, open_voice: OpenVoice) -> None:
        self._settings, self._open_voice = settings, open_voice
        self._served: dict[str, ServedVoice] = {}
        self._read: dict[str, _Found] = {}
        self._loading = Lock()
        self._trouble = ""

    def get(self, name: str) -> ServedVoice | None:
        """The voice of that name, which is no path: only names that were found at the operator's places are known."""
        return self._served.get(name)

    @property
    def all(self) -> list[ServedVoice]:
        """By name."""
        return [self._served[name] for name in sorted(self._served)]

    def described(self) -> dict[str, Voice]:
        """Every voice as its file has it now, with no model loaded. Raises VoiceError, FormulaError or ServingError."""
        return {name: self._checked(name, load_voice(found.path)) for name, found in self._find().items()}

    def load(self, prepare: Callable[[ServedVoice], None]) -> None:
        """Open every voice and let `prepare` warm it up, or raise what one of them raises."""
        with self._loading:
            for name, found in self._find().items():
                self._open(name, found, prepare)

    def reload(self, prepare: Callable[[ServedVoice], None], everything: bool = False) -> list[str]:
        """Open again what has changed, or everything; the names of the voices that are new or gone.

        What cannot be opened stays as it was, and the log says why. Requests that run go on by what they began with.
        """
        with self._loading:
            try:
                found = self._find()
            except ServingError as error:
                if str(error) != self._trouble:  # not again at every look
                    log.error("voices not found", exc_info=True)
                self._trouble = str(error)
                return []
            self._trouble = ""
            gone = [name for name in self._served if name not in found]
            for name in gone:
                del self._served[name]
                self._read.pop(name, None)
            changed = [name for name in found if everything or found[name] != self._read.get(name)]
            return gone + [name for name in changed if self._reopened(name, found[name], prepare)]

    def _reopened(self, name: str, found: _Found, prepare: Callable[[ServedVoice], None]) -> bool:
        self._read[name] = found  # a file that cannot be used is not tried again until it changes
        try:
            self._open(name, found, prepare)
        except Exception:  # a voice that breaks a library must not end those that speak
            log.error("voice not reloaded", extra={"voice": name}, exc_info=True)
            return False
        return True

    def _open(self, name: str, found: _Found, prepare: Callable[[ServedVoice], None]) -> None:
        voice = self._checked(name, load_voice(found.path))
        terms = {term.name: term for term in voice.terms}
        allowed = self._settings.terms_of(name)
        mine = terms if allowed is None else {each: terms[each] for each in allowed}
        served = ServedVoice(name, self._open_voice(voice), mine, found.state[0] // 10**9)
        served.open()
        prepare(served)
        self._served[name], self._read[name] = served, found

    def _checked(self, name: str, voice: Voice) -> Voice:
        """The voice, if it has the terms that the settings name."""
        known = [term.name for term in voice.terms]
        for term in self._settings.terms_of(name) or ():
            if term not in known:
                raise ServingError(
                    f"allowed_terms of the voice '{name}' names '{term}', which is none of its terms.",
                    f"Its terms are {', '.join(known)}.",
                )
        return voice

    def _find(self) -> dict[str, _Found]:
        """The voice files by name. Raises ServingError for a name that cannot be used, or is used twice."""
        found: dict[str, _Found] = {}
        for given in self._settings.voices:
            for name, path in _places(given):
                if not NAME.fullmatch(name):
                    raise ServingError(
                        f"'{name}' cannot be the name of a voice.", "Use letters, digits, dots and dashes: NAME=PATH."
                    )
                if name in found:
                    raise ServingError(f"Two voices are named '{name}'.", "Give one another name: NAME=PATH.")
                found[name] = _Found(path, _state(path))
        if not found:
            raise ServingError(f"There is no voice in {', '.join(self._settings.voices)}.", "Put .toml files there.")
        return found


def _places(given: str) -> list[tuple[str, Path]]:
    """The names and files that one setting stands for."""
    path = Path(given).expanduser()
    if path.is_dir():
        return [(file.stem, file) for file in sorted(path.glob("*.toml"))]
    name, separator, place = given.partition("=")
    if separator and not path.exists():
        return [(name, Path(place).expanduser())]
    return [(path.stem, path)]


def _state(path: Path) -> tuple[int, int]:
    try:
        held = path.stat()
    except OSError:
        raise ServingError(f"There is no voice file '{path}'.", "Check the path.") from None
    return held.st_mtime_ns, held.st_size
