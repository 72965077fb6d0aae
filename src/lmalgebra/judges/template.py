"""Texts with places to fill in: prompts made of a row's fields, and what language models are asked as judges."""

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmalgebra.errors import EvaluationError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

_ERRORS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


class Template:
    """Jinja over fields by their `names`, as in the templates of voice files. Raises EvaluationError for what is none.

    A field that is absent is an error, not nothing.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.names = meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
            self._template = _ENVIRONMENT.from_string(text)
        except _ERRORS as error:
            raise _refused(text, error, "It is Jinja, such as {{ prompt }}.") from None

    def fill(self, fields: Mapping[str, Any]) -> str:
        """The text with the fields in their places. Raises EvaluationError."""
        try:
            return self._template.render(fields)
        except _ERRORS as error:
            raise _refused(self.text, error, f"There are the fields {', '.join(fields)}.") from None


def _refused(text: str, error: Exception, hint: str) -> EvaluationError:
    return EvaluationError(f"The template {text!r} cannot be filled in: {error}.", hint)
