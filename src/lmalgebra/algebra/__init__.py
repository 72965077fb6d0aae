"""Formulas over language models as immutable values: build, parse, check, simplify, print, save."""

from lmalgebra.algebra.bias import Bias, Classifier, classifier
from lmalgebra.algebra.bounds import minimum
from lmalgebra.algebra.build import follow, hold, intersection, mix, posterior, power, probability, tilt, union, within
from lmalgebra.algebra.constraint import (
    Constraint,
    Forbidden,
    Grammar,
    JsonSchema,
    Regex,
    Required,
    forbid,
    grammar,
    json_schema,
    regex,
    require,
)
from lmalgebra.algebra.describe import Model, ModelTerm
from lmalgebra.algebra.formula import (
    MAX_DEPTH,
    Constant,
    Description,
    Formula,
    Intersection,
    Mix,
    Power,
    Probability,
    Scale,
    Sum,
    Term,
    Tilt,
    Union,
    Within,
)
from lmalgebra.algebra.json_form import formula_from_json
from lmalgebra.algebra.left_out import without
from lmalgebra.algebra.mass import check, forbids, mass
from lmalgebra.algebra.parse import parse
from lmalgebra.algebra.partial import partial
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.replaced import replaced
from lmalgebra.algebra.rewrite import simplify
from lmalgebra.algebra.settings import GenerationSettings
from lmalgebra.algebra.steer import Follow, Hold, Steered
from lmalgebra.algebra.voice import Voice, dump_voice, load_voice, new_voice_text, save_voice
from lmalgebra.algebra.voice_file import parse_voice
from lmalgebra.algebra.weights import Schedule, Weight, at, decay, limit, ramp

__all__ = [
    "MAX_DEPTH",
    "Bias",
    "Classifier",
    "Constant",
    "Constraint",
    "Description",
    "Follow",
    "Forbidden",
    "Formula",
    "GenerationSettings",
    "Grammar",
    "Hold",
    "Intersection",
    "JsonSchema",
    "Mix",
    "Model",
    "ModelTerm",
    "Posterior",
    "Power",
    "Probability",
    "Regex",
    "Required",
    "Scale",
    "Schedule",
    "Steered",
    "Sum",
    "Term",
    "Tilt",
    "Union",
    "Voice",
    "Weight",
    "Within",
    "at",
    "check",
    "classifier",
    "decay",
    "dump_voice",
    "follow",
    "forbid",
    "forbids",
    "formula_from_json",
    "grammar",
    "hold",
    "intersection",
    "json_schema",
    "limit",
    "load_voice",
    "mass",
    "minimum",
    "mix",
    "new_voice_text",
    "parse",
    "parse_voice",
    "partial",
    "posterior",
    "power",
    "probability",
    "ramp",
    "regex",
    "replaced",
    "require",
    "save_voice",
    "simplify",
    "tilt",
    "union",
    "within",
    "without",
]
