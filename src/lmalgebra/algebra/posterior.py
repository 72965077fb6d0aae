"""How probably a text was said by one formula rather than by another, as GeDi weighs tokens: `posterior`.

After GeDi (Krause et al., Findings of EMNLP 2021, arXiv 2009.06367), whose two are class-conditional language models.
The authors' code counts the prompt as part of the text, too. Here two terms may differ just by their prompts, so that
only what is said after them counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmalgebra.algebra.base import Formula
from lmalgebra.algebra.formula import settle
from lmalgebra.algebra.weights import as_number, number_text, shown
from lmalgebra.errors import FormulaError


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(Formula):
    """Score: log of the probability that `desired` said the text so far and then the token, not `undesired`. Mass: 0.

    For t tokens, this one included, it is P D^a / (P D^a + (1 - P) U^a), where D and U are the probabilities that
    desired and undesired give to all t, P is `prior`, and a is `scale` / t ^ `length_power`. So length_power=1, the
    paper's, averages the evidence over the tokens; 0 adds it up, which with scale=1 is Bayes' rule.

    What is impossible to both, a token or then a text, is evidence for neither: the count begins anew with D = U. What
    is impossible to desired alone has score `-inf`, so that this forbids tokens where desired does. Raises FormulaError
    for a scale that is not above 0, a prior that is not between 0 and 1, and a length_power that is not from 0 to 1.
    """

    desired: Formula
    undesired: Formula
    scale: float = 1.0
    prior: float = 0.5
    length_power: float = 1.0

    def __post_init__(self) -> None:
        for operand in self.operands:
            if not isinstance(operand, Formula):
                raise FormulaError(f"{shown(operand)} is not a formula.", "Write posterior(desired, undesired).")
        for name in ("scale", "prior", "length_power"):
            object.__setattr__(self, name, as_number(getattr(self, name), f"{name} of posterior"))
        if self.scale <= 0:
            raise FormulaError(f"scale={number_text(self.scale)} of posterior is not above 0.", "Write scale=1.")
        if not 0 < self.prior < 1:
            raise FormulaError(
                f"prior={number_text(self.prior)} of posterior is not between 0 and 1.", "Write prior=0.5."
            )
        if not 0 <= self.length_power <= 1:
            raise FormulaError(
                f"length_power={number_text(self.length_power)} of posterior is not from 0 to 1.",
                "Write length_power=1 to average over the tokens, or 0 to add up.",
            )
        settle(self)

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """Desired and undesired."""
        return (self.desired, self.undesired)

    @property
    def evidence(self) -> Posterior:
        """The same without its numbers: posteriors of equal evidence count the same of a text."""
        return replace(self, scale=1.0, prior=0.5, length_power=1.0)

    def settings(self) -> dict[str, float]:
        """The numbers that differ from their defaults."""
        given = {"scale": (self.scale, 1.0), "prior": (self.prior, 0.5), "length_power": (self.length_power, 1.0)}
        return {key: value for key, (value, default) in given.items() if value != default}

    def _own(self) -> tuple[object, ...]:
        return (self.scale, self.prior, self.length_power)
