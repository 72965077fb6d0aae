"""A control text: what only the term that learns reads, before all else, such as which reward it is to reach.

It needs no new entries in a vocabulary, and a trained adapter is an ordinary term under it, of a `prefix` or `system`.
"""

from __future__ import annotations

from dataclasses import replace

from lmalgebra.algebra import Formula, ModelTerm, Posterior, Term, Within
from lmalgebra.errors import TrainingError
from lmalgebra.models.base import Tokenizer


def controlled(term: Term, control: str, tokenizer: Tokenizer) -> Term:
    """`term` with `control` before its prefix, its template or its system prompt; a term that has none gets a prefix,
    or where its model has a chat template, a system prompt (which takes the place of a conversation's own)."""
    description = term.description
    assert isinstance(description, ModelTerm)
    if not control:
        return term
    if description.template is not None:
        literal = control.replace("{", "{{ '{' }}")
        told = replace(description, template=literal + description.template)
    elif description.prefix is not None:
        told = replace(description, prefix=control + description.prefix)
    elif tokenizer.has_chat_template or description.system is not None or description.chat_template is not None:
        told = replace(description, system=control + (description.system or ""))
    else:
        told = replace(description, prefix=control)
    return Term(term.name, told)


def learning_term(formula: Formula, name: str) -> Term:
    """The term called `name`, which is to learn. Raises TrainingError where nothing can be learned in it."""
    found = next((leaf for leaf in formula.leaves() if leaf.name == name), None)
    if found is None:
        names = ", ".join(f"`{leaf.name}`" for leaf in formula.leaves())
        raise TrainingError(f"`{formula}` has no term `{name}` to train.", f"Its terms are {names}.")
    if not isinstance(found.description, ModelTerm) or found.description.model.is_remote:
        raise TrainingError(f"The term `{name}` is no language model that is here.", "Train one that is loaded here.")
    _require_gradient(formula.simplify(), found)
    return found


def _require_gradient(formula: Formula, term: Term) -> None:
    """Raise TrainingError where what `term` says moves no probability smoothly."""
    if term not in formula.leaves():
        raise TrainingError(f"The term `{term.name}` cancels out of the formula, so it cannot learn.", "Weigh it.")
    if any(isinstance(node, Posterior) and term in node.leaves() for node in formula._nodes()):
        raise TrainingError(
            f"The term `{term.name}` stands inside a posterior, whose evidence has no gradient here.",
            "Train it outside of the posterior.",
        )
    if not _reaches(formula, term):
        raise TrainingError(
            f"The term `{term.name}` stands only inside within, which says yes or no, so it cannot learn.",
            "Train another term.",
        )


def _reaches(node: Formula, term: Term) -> bool:
    """Whether the score of `node` changes smoothly with that of `term`."""
    return node == term or (not isinstance(node, Within) and any(_reaches(each, term) for each in node.operands))
