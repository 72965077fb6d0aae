"""The formula of a request: the voice's, or its own, with guidance, and held to a response format."""

from __future__ import annotations

from collections.abc import Mapping

from lmalgebra.algebra import Bias, Formula, ModelTerm, Term, json_schema, parse, power
from lmalgebra.decoding.plan import Plan
from lmalgebra.serving.errors import invalid, not_allowed
from lmalgebra.serving.schema import ResponseFormat, Spoken, TermRequest
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice

NEGATIVE, FORMAT = "negative_prompt", "response_format"
"""What the terms of guidance and of the response format are called."""


def asked_formula(
    asked: Spoken, served: ServedVoice, settings: ServerSettings, shape: ResponseFormat | None = None
) -> tuple[Formula, tuple[Term, ...]]:
    """The formula that a request speaks by, and the terms whose prompts it has brought.

    In this order: 1. its own formula, or the voice's with weighted terms; 2. guidance around that; 3. the response
    format. Raises ApiError for what is not allowed or has no effect, FormulaError and VoiceError.
    """
    brought = _brought(asked, served, settings)
    formula = _own(asked, served, settings, brought) if asked.formula is not None else _weighted(asked, served, brought)
    if asked.guidance_scale is not None or asked.negative_prompt is not None:
        formula, negative = _guided(asked, formula, settings)
        brought = {**brought, negative.name: negative}
    _require_few(Plan(formula), settings)
    if shape is not None and shape.type != "text":
        formula = formula + _shape(shape, formula, settings)
    return formula, tuple(brought.values())


def _brought(asked: Spoken, served: ServedVoice, settings: ServerSettings) -> dict[str, Term]:
    """The terms that the request describes itself."""
    found = {}
    for name, term in (asked.terms or {}).items():
        param = f"terms.{name}"
        if term.model is None and term.system is None and term.prefix is None:
            if name not in served.terms:
                raise invalid(f"`{name}` is no term that requests may name. {_known(served)}", param, "invalid_term")
            if term.weight is None:
                raise invalid(f"{param} says nothing.", param)
            continue
        if name in (known.name for known in served.described.terms) or name in (NEGATIVE, FORMAT):
            raise invalid(f"`{name}` is a term of the voice already; use another name.", param, "invalid_term")
        if "prompts" not in settings.allow:
            raise not_allowed("Prompts of terms are the operator's choice here.", param)
        found[name] = _described(name, term, served)
    return found


def _described(name: str, term: TermRequest, served: ServedVoice) -> Term:
    models = {model.name: model for model in served.described.models}
    if term.model is None:
        reference = served.composed.plan.speakers[0].description
        assert isinstance(reference, ModelTerm)
        model = reference.model
    elif term.model in models:
        model = models[term.model]
    else:
        known = ", ".join(models)
        raise invalid(
            f"'{term.model}' is no model of this voice, which has {known}.", f"terms.{name}.model", "invalid_term"
        )
    return model.term(name=name, system=term.system, prefix=term.prefix)


def _own(asked: Spoken, served: ServedVoice, settings: ServerSettings, brought: Mapping[str, Term]) -> Formula:
    text = asked.formula or ""
    if "formula" not in settings.allow:
        raise not_allowed("The formula is the operator's choice here.", "formula")
    if len(text) > settings.max_formula_characters:
        raise invalid(
            f"The formula has {len(text):,} characters; at most {settings.max_formula_characters:,} are read.",
            "formula",
            "invalid_formula",
        )
    formula = parse(text, {**served.terms, **brought})
    for name, term in (asked.terms or {}).items():
        if term.weight is not None:
            raise invalid("Write the weight into the formula.", f"terms.{name}.weight")
        if name not in {leaf.name for leaf in formula.leaves()}:
            raise invalid(f"The formula does not name the term `{name}`.", f"terms.{name}")
    return formula


def _weighted(asked: Spoken, served: ServedVoice, brought: Mapping[str, Term]) -> Formula:
    """The voice's formula, with `weight * (term - reference)` for each weighted term; a classifier adds its own."""
    formula = served.described.formula
    reference = served.composed.plan.speakers[0]
    for name, asked_term in (asked.terms or {}).items():
        if asked_term.weight is None:
            raise invalid(
                f"The term `{name}` has no effect: give it a weight, or a formula.", f"terms.{name}", "invalid_term"
            )
        term = brought[name] if name in brought else served.terms[name]
        direction = term if isinstance(term.description, Bias) else term - reference
        formula = formula + asked_term.weight * direction
    return formula


def _guided(asked: Spoken, formula: Formula, settings: ServerSettings) -> tuple[Formula, Term]:
    """Classifier-free guidance of the whole formula (Sanchez et al., ICML 2024, arXiv 2306.17806):
    negative + scale * (formula - negative), where the negative is the formula's first model under another prompt, or
    under none.
    """
    if asked.guidance_scale is None:
        raise invalid("negative_prompt has no effect without guidance_scale.", "negative_prompt")
    if asked.negative_prompt is not None and "prompts" not in settings.allow:
        raise not_allowed("Prompts of terms are the operator's choice here.", "negative_prompt")
    first = Plan(formula).speakers[0].description
    assert isinstance(first, ModelTerm)
    is_plain = first.prefix is not None
    prompt = {"prefix": asked.negative_prompt or ""} if is_plain else {"system": asked.negative_prompt}
    negative = first.model.term(name=NEGATIVE, **prompt)
    spoken = formula if isinstance(formula, Term) else power(formula, 1)
    return negative + asked.guidance_scale * (spoken - negative), negative


def _require_few(plan: Plan, settings: ServerSettings) -> None:
    count = len(plan.speakers)
    if count > settings.max_terms:
        raise invalid(
            f"The formula speaks by {count} language models; at most {settings.max_terms} are computed.",
            "formula",
            "invalid_formula",
        )


def _shape(shape: ResponseFormat, formula: Formula, settings: ServerSettings) -> Term:
    """The constraint of a response format."""
    if (shape.json_schema is None) == (shape.type == "json_schema"):
        raise invalid("Give json_schema with the type json_schema, and only then.", "response_format.json_schema")
    schema = {"type": "object"} if shape.json_schema is None else shape.json_schema.schema_
    term = json_schema(schema, name=FORMAT)
    size = len(str(term.description))
    if size > settings.max_schema_characters:
        raise invalid(
            f"The schema has {size:,} characters; at most {settings.max_schema_characters:,} are read.",
            "response_format.json_schema.schema",
        )
    if any(leaf.name == FORMAT for leaf in formula.leaves()):
        raise invalid(f"The formula has a term `{FORMAT}` already.", "formula")
    return term


def _known(served: ServedVoice) -> str:
    return f"Known terms: {', '.join(served.terms)}."
