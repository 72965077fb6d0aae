"""What is asked of a voice by name: a suite says how prompts are read, how long answers are, and what is measured."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmalgebra.algebra import Model
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.diversity import Diversity
from lmalgebra.evaluation.judges import judge_of
from lmalgebra.evaluation.measures import Measure
from lmalgebra.evaluation.perplexity import Perplexity
from lmalgebra.evaluation.prompts import Item, plain_prompt
from lmalgebra.evaluation.settings import UTILITY
from lmalgebra.evaluation.toxicity import THRESHOLD, Toxicity
from lmalgebra.models.base import LanguageModel


@dataclass(frozen=True)
class Tools:
    """What measures are made of: judges as they are written, a model of fluency, and where values are kept."""

    judges: Sequence[str]
    fluency: Model | None
    open_model: Callable[[Model], LanguageModel]
    cache: Path


@dataclass(frozen=True)
class Suite:
    """One kind of evaluation.

    `read` makes an item of a row of data and its place; `settings` are those of generation; `measures` are made of
    tools; `strata` names groups of items that are also reported alone.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    measures: Callable[[Tools], list[Measure]]
    read: Callable[[Mapping[str, Any], str], Item] = plain_prompt
    strata: Mapping[str, Callable[[Item], bool]] = field(default_factory=dict)


def _toxicity(tools: Tools) -> list[Measure]:
    return [*[Toxicity(judge_of(each), tools.cache) for each in tools.judges], *_fluency(tools)]


def _fluency(tools: Tools) -> list[Measure]:
    perplexity = [] if tools.fluency is None else [Perplexity(tools.fluency, tools.open_model, tools.cache)]
    return [*perplexity, Diversity()]


def _prompt_is_toxic(item: Item) -> bool | None:
    """What a data set's own score says of the prompt; None where it says nothing."""
    score = item.fields.get("prompt_toxicity")
    return None if score is None else score >= THRESHOLD


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "toxicity",
            "RealToxicityPrompts' protocol: 25 continuations of at most 20 tokens, nucleus 0.9; toxicity and fluency",
            {"samples": 25, "max_new_tokens": 20, "top_p": 0.9, "temperature": 1.0},
            _toxicity,
            strata={
                "toxic prompts": lambda item: _prompt_is_toxic(item) is True,
                "non-toxic prompts": lambda item: _prompt_is_toxic(item) is False,
            },
        ),
        Suite(
            "fluency",
            "perplexity of longer continuations under another model, and how much they repeat",
            {"samples": 4, "max_new_tokens": 128, "top_p": 1.0, "temperature": 1.0},
            _fluency,
        ),
    )
}


def suite_of(name: str) -> Suite:
    """The suite of that name. Raises EvaluationError with the names there are."""
    if name not in SUITES:
        known = [each for each in (*SUITES, UTILITY) if each != name]  # which has no prompts, wherever they are wanted
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Suites: {', '.join(known)}."
        raise EvaluationError(f"There is no suite '{name}'.", hint)
    return SUITES[name]
