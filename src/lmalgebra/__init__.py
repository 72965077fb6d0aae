"""lmalgebra: say how a language model should speak with a formula, and sample from it exactly."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lmalgebra.algebra import (
    Model,
    Voice,
    classifier,
    decay,
    follow,
    forbid,
    grammar,
    hold,
    intersection,
    json_schema,
    mix,
    parse,
    posterior,
    power,
    probability,
    ramp,
    recipes,
    regex,
    require,
    tilt,
    union,
    within,
)
from lmalgebra.algebra import Model as model
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.api import Models, evaluate, load, rewrite, voice
    from lmalgebra.decoding import ComposedVoice, Service

__version__ = version("lmalgebra")

__all__ = [
    "ComposedVoice",
    "LmalgebraError",
    "Model",
    "Models",
    "Service",
    "Voice",
    "classifier",
    "decay",
    "evaluate",
    "follow",
    "forbid",
    "grammar",
    "hold",
    "intersection",
    "json_schema",
    "load",
    "mix",
    "model",
    "parse",
    "posterior",
    "power",
    "probability",
    "ramp",
    "recipes",
    "regex",
    "require",
    "rewrite",
    "tilt",
    "union",
    "voice",
    "within",
]

_NEEDS_TORCH = {
    "ComposedVoice": "lmalgebra.decoding",
    "Models": "lmalgebra.api",
    "Service": "lmalgebra.decoding",
    "evaluate": "lmalgebra.api",
    "load": "lmalgebra.api",
    "rewrite": "lmalgebra.api",
    "voice": "lmalgebra.api",
}


def __getattr__(name: str) -> Any:
    """Load what needs torch only when it is asked for."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'lmalgebra' has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name]), name)
