"""What continuations depend on, so that they are said anew when any of it changes and never otherwise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmalgebra.algebra import Classifier, GenerationSettings, ModelTerm, Voice
from lmalgebra.algebra.adapter import summands
from lmalgebra.models.fingerprint import digest, fingerprint


@dataclass(frozen=True)
class Identity:
    """A voice as in its file, its weights' fingerprints, the settings it speaks with and this library's version."""

    voice: dict[str, Any]
    weights: dict[str, str]
    settings: GenerationSettings
    version: str

    @property
    def description(self) -> dict[str, Any]:
        """Everything but how many samples are wanted and from which seed on, which decide nothing about a sample.

        Files are known by their content, wherever they lie.
        """
        settings = {key: value for key, value in asdict(self.settings).items() if key not in ("samples", "seed")}
        paths = {source: digest for source, digest in self.weights.items() if Path(source).expanduser().exists()}
        named = {source: digest for source, digest in self.weights.items() if source not in paths}
        return {"voice": _moved(self.voice, paths), "weights": named, "settings": settings, "version": self.version}

    @property
    def name(self) -> str:
        """The same for equal descriptions."""
        return digest(self.description)


def identity_of(voice: Voice, settings: GenerationSettings) -> Identity:
    """The identity of a voice that speaks with `settings`; what its formula does not use is left out.

    Raises VoiceError for a voice that no file can hold, such as one with a function as classifier.
    """
    used = replace(voice, settings=GenerationSettings(), terms=(), models=())
    sources = set()
    for term in used.terms:
        if isinstance(term.description, ModelTerm):
            sources |= {term.description.model.source, *dict(summands(term.description.adapter))}
        elif isinstance(term.description, Classifier):
            sources.add(str(term.description.source))
    weights = {source: fingerprint(source) for source in sorted(sources)}
    return Identity(used.to_dict(), weights, settings, version("lmalgebra"))


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    """`value` with each path in it replaced by what `places` says."""
    if isinstance(value, dict):
        return {_moved(key, places): _moved(each, places) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, places) for each in value]
    return places.get(value, value) if isinstance(value, str) else value
