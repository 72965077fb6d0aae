"""POST /v1/formula: whether a formula can be used, what it is made of, and where its numbers stand in its text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lmalgebra.algebra import Formula, Term
from lmalgebra.algebra.written_numbers import written_numbers
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import FormulaError, VoiceError
from lmalgebra.serving import describe
from lmalgebra.serving.errors import ApiError, as_api_error
from lmalgebra.serving.formulas import asked_formula
from lmalgebra.serving.schema import FormulaRequest
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice


def checked(asked: FormulaRequest, served: ServedVoice, settings: ServerSettings) -> dict[str, Any]:
    """The answer. A mistake is part of it, as `error`: to be told of one is what was asked for.

    Raises ApiError for what is not allowed.
    """
    content: dict[str, Any] = {"object": "formula", "model": served.name, "formula": None, "reference": None}
    try:
        formula, brought = asked_formula(asked, served, settings)
        told = {"formula": str(formula), "reference": Plan(formula).speakers[0].name}
        told |= {"terms": _terms(formula, brought, settings), "error": None}
    except (ApiError, FormulaError, VoiceError) as error:
        if isinstance(error, ApiError) and error.status != 400:
            raise
        told = {"terms": [], "error": _error(error)}
    text = asked.formula if asked.formula is not None else told.get("formula", "")
    return content | told | {"numbers": _numbers(text, settings)}


def _terms(formula: Formula, brought: tuple[Term, ...], settings: ServerSettings) -> list[dict[str, Any]]:
    terms = dict.fromkeys((*formula.leaves(), *formula.gauges()))
    return [describe.term(each, settings, each in brought) for each in terms]


def _numbers(text: str, settings: ServerSettings) -> list[dict[str, Any]]:
    """Those of a text that can be read, whether or not it can be used: a mistake may be a number's."""
    if len(text) > settings.max_formula_characters:
        return []
    try:
        return [asdict(number) for number in written_numbers(text)]
    except FormulaError:
        return []


def _error(error: Exception) -> dict[str, Any]:
    """The error as it would be refused, with its place instead of a picture of it."""
    found: dict[str, Any] = dict(as_api_error(error, param="formula").body["error"])
    place = error.place if isinstance(error, FormulaError) else None
    if isinstance(error, FormulaError):
        found["message"] = " ".join(filter(None, (error.sentence, error.hint)))
    return found | {"start": None, "end": None} | ({} if place is None else {"start": place[0], "end": place[1]})
