"""Weights that depend on the text so far, as a classifier sees it: `follow` and `hold`.

After the classifier-dependent strengths of model arithmetic's code (Dekoninck et al., ICLR 2024, arXiv 2311.14479);
`hold` is an integral controller with a proportional part, as in process control.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmalgebra.algebra.base import Formula, quoted
from lmalgebra.algebra.bias import Classifier
from lmalgebra.algebra.formula import Constant, Term, settle
from lmalgebra.algebra.weights import as_number, number_text, shown
from lmalgebra.errors import FormulaError

MOST = 2.0
GAIN = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Steered(Formula):
    """An operand of mass 0, such as `formal - base`, under a weight that `gauge` decides: a classifier's term.

    The gauge reads the text so far and gives C, a probability; it scores no tokens here.
    """

    operand: Formula
    gauge: Term

    def __post_init__(self) -> None:
        if not isinstance(self.operand, Formula):
            raise FormulaError(f"{shown(self.operand)} is not a formula.", "Give one such as formal - base.")
        description = self.gauge.description if isinstance(self.gauge, Term) else self.gauge
        if not isinstance(self.gauge, Term) or not (description is None or isinstance(description, Classifier)):
            given = quoted(self.gauge) if isinstance(self.gauge, Formula) else shown(self.gauge)
            raise FormulaError(
                f"{given} is no classifier, which {self.verb} needs to read the text.",
                f"Write {self.verb}(formal - base, classifier).",
            )
        settle(self)

    @property
    def verb(self) -> str:
        """The function's name in the text syntax."""
        return type(self).__name__.lower()

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """The operand."""
        return (self.operand,)

    @property
    def rule(self) -> Steered:
        """The same with nothing to steer: parts of equal rules have one weight at every position."""
        return replace(self, operand=Constant(0.0))

    def settings(self) -> dict[str, float]:
        """The numbers that were given, those at their default left out."""
        return {}

    def _own(self) -> tuple[object, ...]:
        return (self.gauge,)


@dataclass(frozen=True, eq=False, repr=False)
class Follow(Steered):
    """Score: C times the operand's, where C is the classifier's probability of the text so far. Mass: 0."""


@dataclass(frozen=True, eq=False, repr=False)
class Hold(Steered):
    """Score: the operand's, times the weight that keeps C near `target`. Mass: 0.

    With the error e = target - C of the text after each token, the weight is the sum of all errors times `gain`, plus
    the last error, both times `most`, cut to `least` ... `most`; the sum is cut so, too. A text without a token has
    the error target - 1 / 2. Raises FormulaError for a target outside 0 ... 1, a gain that is not above 0, and an
    empty range.
    """

    target: float = 0.5
    least: float = 0.0
    most: float = MOST
    gain: float = GAIN

    def __post_init__(self) -> None:
        for name in ("target", "least", "most", "gain"):
            object.__setattr__(self, name, as_number(getattr(self, name), f"{name} of hold"))
        if not 0 <= self.target <= 1:
            raise FormulaError(f"target={number_text(self.target)} of hold is not from 0 to 1.", "Write target=0.8.")
        if self.most <= max(self.least, 0):
            raise FormulaError(
                f"most={number_text(self.most)} of hold is not above 0 and least={number_text(self.least)}.",
                "Write least=0, most=2.",
            )
        if self.gain <= 0:
            raise FormulaError(f"gain={number_text(self.gain)} of hold is not above 0.", "Write gain=0.1.")
        super().__post_init__()

    def settings(self) -> dict[str, float]:
        """The target, and what differs from its default."""
        given = {"least": (self.least, 0.0), "most": (self.most, MOST), "gain": (self.gain, GAIN)}
        return {"target": self.target} | {key: value for key, (value, default) in given.items() if value != default}

    def _own(self) -> tuple[object, ...]:
        return (self.gauge, self.target, self.least, self.most, self.gain)
