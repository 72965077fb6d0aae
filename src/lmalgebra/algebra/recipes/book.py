"""The recipes by name, with their papers, and how to make one from names and values."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lmalgebra.algebra.formula import Formula, Term
from lmalgebra.algebra.recipes import methods
from lmalgebra.algebra.weights import Weight, weight_text
from lmalgebra.errors import FormulaError


@dataclass(frozen=True)
class Recipe:
    """A published method: `make` builds its formula from *parts*, which are formulas, and *parameters*: numbers.

    `several` are the parts that may be lists.
    """

    make: Callable[..., Formula]
    title: str
    paper: str
    several: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.make.__name__.replace("_", "-")

    @property
    def parts(self) -> tuple[str, ...]:
        """The formulas that it needs."""
        return tuple(key for key, default in self._arguments() if default is inspect.Parameter.empty)

    @property
    def parameters(self) -> dict[str, Weight]:
        """The numbers that it takes, with their defaults."""
        return {key: default for key, default in self._arguments() if default is not inspect.Parameter.empty}

    @property
    def formula(self) -> Formula:
        """The formula over terms named after the parts, with the default parameters."""
        return self.make(**{part: Term(part) for part in self.parts})

    def build(self, values: Mapping[str, Any]) -> Formula:
        """The formula of `values` by the names of parts and parameters. Raises FormulaError as `checked`, and for a
        part that is missing.
        """
        given = self.checked(values)
        missing = [part for part in self.parts if part not in given]
        if missing:
            raise FormulaError(f"The recipe {self.name} lacks `{missing[0]}`.", f"It takes: {self.described}.")
        return self.make(**given)

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values`, whole numbers as such. Raises FormulaError for a name that is neither a part nor a parameter, and a
        value of the wrong kind.
        """
        for key in values:
            if key not in (*self.parts, *self.parameters):
                hint = _closest(key, (*self.parts, *self.parameters)) + f"It takes: {self.described}."
                raise FormulaError(f"The recipe {self.name} has no '{key}'.", hint)
        return {key: self._value(key, value) for key, value in values.items()}

    @property
    def described(self) -> str:
        """The parts, and the parameters with their defaults."""
        return ", ".join([*self.parts, *(f"{key}={weight_text(value)}" for key, value in self.parameters.items())])

    def _value(self, key: str, value: Any) -> Any:
        is_part = key in self.parts
        formulas = value if key in self.several and isinstance(value, list | tuple) else [value]
        counts = isinstance(self.parameters.get(key), int)
        if is_part != all(isinstance(each, Formula) for each in formulas) or (counts and not _is_whole(value)):
            expected = "a formula" if is_part else "a whole number" if counts else "a number"
            raise FormulaError(f"`{key}` of the recipe {self.name} is not {expected}.", f"It takes: {self.described}.")
        return int(value) if counts else value

    def _arguments(self) -> list[tuple[str, Any]]:
        return [(each.name, each.default) for each in inspect.signature(self.make).parameters.values()]


def recipe(name: str) -> Recipe:
    """The recipe of a name. Raises FormulaError, with the closest name there is."""
    found = RECIPES.get(name.replace("_", "-"))
    if found is None:
        hint = _closest(name, RECIPES) + f"Recipes: {', '.join(RECIPES)}."
        raise FormulaError(f"There is no recipe '{name}'.", hint)
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and float(value).is_integer()


def _closest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{found[0]}'? " if found else ""


RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        Recipe(
            methods.cfg,
            "classifier-free guidance",
            "Sanchez et al., ICML 2024, arXiv 2306.17806",
            several=("prompted", "plain"),
        ),
        Recipe(methods.dexperts, "DExperts", "Liu et al., ACL 2021, arXiv 2105.03023"),
        Recipe(methods.preadd, "PreADD", "Pei et al., Findings of ACL 2023, arXiv 2307.03214"),
        Recipe(
            methods.self_debias, "Self-Debiasing", "Schick et al., TACL 2021, arXiv 2103.00453", several=("biased",)
        ),
        Recipe(methods.gedi, "GeDi", "Krause et al., Findings of EMNLP 2021, arXiv 2009.06367"),
        Recipe(methods.contrastive, "contrastive decoding", "Li et al., ACL 2023, arXiv 2210.15097"),
        Recipe(methods.proxy_tuning, "proxy-tuning", "Liu et al., COLM 2024, arXiv 2401.08565"),
        Recipe(methods.context_aware, "context-aware decoding", "Shi et al., NAACL 2024, arXiv 2305.14739"),
        Recipe(methods.union_detox, "detoxification by a union", "Dekoninck et al., ICLR 2024, arXiv 2311.14479"),
        Recipe(
            methods.union_detox_classifier,
            "detoxification by a union and a classifier",
            "Dekoninck et al., ICLR 2024, arXiv 2311.14479",
        ),
        Recipe(methods.product_of_experts, "a product of experts (IPA)", "Lu et al., EMNLP 2023, arXiv 2305.15065"),
        Recipe(methods.fudge, "FUDGE", "Yang and Klein, NAACL 2021, arXiv 2104.05218"),
    )
}
"""By name, in the order in which they are listed."""
