"""What clients are told of the server besides texts: its voices, their terms, and what formulas are written with."""

from __future__ import annotations

from typing import Any

from lmalgebra.algebra import Bias, Classifier, ModelTerm, Term
from lmalgebra.algebra.parse import usages
from lmalgebra.algebra.recipes import RECIPES
from lmalgebra.algebra.recipes.prompts import SYSTEM_PROMPTS
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice


def models(voices: list[ServedVoice], judges: list[str], settings: ServerSettings) -> dict[str, Any]:
    """The voices as OpenAI's API lists models, and what requests may do."""
    ours = {"allow": list(settings.allow), "judges": judges, "max_tokens": settings.max_tokens}
    return {"object": "list", "data": [model(served, settings) for served in voices], "lmalgebra": ours}


def model(served: ServedVoice, settings: ServerSettings) -> dict[str, Any]:
    """A voice as OpenAI's API lists models; what is ours is under one key."""
    generation = served.described.settings
    ours = {
        "formula": str(served.described.formula),
        "terms": list(served.terms),
        "about": [term(each, settings) for each in served.terms.values()],
        "models": [each.name for each in served.described.models],
        "generation": {
            "max_tokens": generation.max_new_tokens,
            "temperature": generation.temperature,
            "top_p": generation.top_p,
        },
    }
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "lmalgebra",
        "lmalgebra": ours,
    }


def term(each: Term, settings: ServerSettings, is_brought: bool = False) -> dict[str, Any]:
    """A term: its name, its kind, and what it is, as far as the operator lets it be told. No place is ever told."""
    described = each.description
    tells = is_brought or "describe" in settings.allow
    found: dict[str, Any] = {"name": each.name}
    if isinstance(described, ModelTerm):
        found |= {"kind": "model", "model": described.model.name}
        prompt = {"system": described.system, "prefix": described.prefix} if tells else {}
        found |= {key: text for key, text in prompt.items() if text is not None}
        return found | ({"adapter": True} if described.adapter is not None else {})
    assert isinstance(described, Bias)
    if isinstance(described, Classifier):
        return found | {"kind": "classifier", "label": described.label, "sign": described.sign}
    kind, content = next(iter(described.table().items()))
    return found | {"kind": kind} | ({"content": content} if tells else {})


def functions() -> dict[str, Any]:
    """The functions of formulas."""
    return {"object": "list", "data": [{"id": name, "usage": usage} for name, usage in usages().items()]}


def recipes() -> dict[str, Any]:
    """The published methods: the formula over terms that are named after the parts, and prompts that show it."""
    found = [
        {
            "id": each.name,
            "title": each.title,
            "paper": each.paper,
            "formula": str(each.formula),
            "parts": list(each.parts),
            "prompts": SYSTEM_PROMPTS[each.name],
        }
        for each in RECIPES.values()
    ]
    return {"object": "list", "data": found}
