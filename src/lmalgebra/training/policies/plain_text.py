"""Texts of which nobody says where their prompt ends, as models of Transformers are given them."""

from __future__ import annotations

from collections.abc import Sequence

from lmalgebra.algebra import Formula, ModelTerm, Schedule, Term
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.reading import Given
from lmalgebra.errors import TrainingError
from lmalgebra.models.base import LanguageModel

ANY_TOKEN = 0


def require_plain(loaded: LoadedFormula) -> None:
    """Raise TrainingError where a formula's log-probabilities depend on what of a text is its prompt."""
    plan = loaded.plan
    told = [leaf.name for leaf in plan.speakers if not _is_plain(leaf, loaded.models[leaf])]
    if told:
        raise TrainingError(
            f"The term `{told[0]}` tells a prompt by a template, and Transformers gives tokens without saying which "
            "are the prompt.",
            'Give its term a prefix, such as prefix = "", or use judge.',
        )
    if plan.biases or plan.rules or plan.evidences or _has_schedule(plan.simplified):
        raise TrainingError(
            f"`{plan.formula}` depends on where the prompt ends, which Transformers does not say.",
            "Use judge, or a formula of language models and fixed weights.",
        )


def plain_text(loaded: LoadedFormula, tokens: Sequence[int]) -> Given:
    """A text to be read so that there are scores after each of its tokens, of which each term reads its prefix before.

    Raises TrainingError for a text without tokens.
    """
    if not tokens:
        raise TrainingError("A text has no tokens.", "Show at least one of each by the attention mask.")
    contexts = {leaf: _begun(leaf, loaded.models[leaf], tokens[0]) for leaf in loaded.plan.speakers}
    return Given((), contexts, (*tokens[1:], ANY_TOKEN))  # the last token of a text is not read


def _is_plain(leaf: Term, model: LanguageModel) -> bool:
    description = leaf.description
    assert isinstance(description, ModelTerm)
    if description.template is not None or description.system is not None or description.chat_template is not None:
        return False
    return description.prefix is not None or not model.tokenizer.has_chat_template


def _begun(leaf: Term, model: LanguageModel, first: int) -> list[int]:
    """What the term has read after the first token: its prefix stands before it, or after what begins texts."""
    assert isinstance(leaf.description, ModelTerm)
    prefix = leaf.description.prefix
    tokens = model.tokenizer.encode([prefix], start=False) if prefix else []
    is_start = model.tokenizer.encode([""]) == [first]
    return [first, *tokens] if is_start else [*tokens, first]


def _has_schedule(formula: Formula) -> bool:
    weights = [getattr(node, name, None) for node in formula._nodes() for name in ("weight", "exponent")]
    return any(isinstance(weight, Schedule) for weight in weights)
