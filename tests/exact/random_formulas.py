"""Random formulas as text, every operator and schedules among them, each with a distribution at every position."""

import random

NUMBERS = ("0.3", "1", "-0.5", "0.75", "2", "-1.25", "1e-3")
SCHEDULES = (
    "ramp(0, 1, tokens=4)",
    "ramp(1.5, -0.5, tokens=10)",
    "decay(1, half_life=2)",
    "decay(-2, half_life=0.5)",
    "0.5 * ramp(0, 1, tokens=3)",
    "ramp(0, 1, tokens=6) * decay(0.75, half_life=4)",
    "(1 - decay(1, half_life=3))",
)
POSITIVE = ("0.3", "0.5", "1", "2", "ramp(0.25, 1, tokens=4)", "(0.1 + decay(1, half_life=2))")
LIMITS = ("top_k=3", "top_p=0.8", "min_p=0.1", "top_k=12, top_p=0.9", "top_p=0.7, min_p=0.02", "top_k=5, min_p=0.05")


class RandomFormula:
    """Draws formulas over `terms`. With `sparse`, none that subtracts: terms may then give a token probability 0."""

    def __init__(self, seed: int, terms: tuple[str, ...] = ("a", "b", "c"), sparse: bool = False) -> None:
        self.draw = random.Random(seed)
        self.terms = terms
        self.sparse = sparse

    def text(self, levels: int = 3) -> str:
        return self._of_mass_1(levels, forbidding=True)

    def _of_mass_1(self, levels: int, forbidding: bool) -> str:
        """A formula of mass 1; without `forbidding`, one that allows every token that its terms allow."""
        if not levels:
            return self.draw.choice(self.terms)
        one, two, three = (self._of_mass_1(self.draw.randrange(levels), forbidding) for _ in range(3))
        plain = self._of_mass_1(self.draw.randrange(levels), False)
        weight, positive = self._weight(), self.draw.choice(POSITIVE)
        kinds = [
            f"({one} + {positive} * tilt({two}))",
            f"({one} + {weight})",
            f"(0.25 * {one} + 0.75 * {two})",
            f"union({one}, {two}, {three})",
            f"({one} | {two})",
            f"intersection({one}, {two})",
            f"({one} & {two} & {three})",
            f"mix(0.3 * {one}, 0.7 * {two}, {three})",
            f"power({one}, {positive})",
            f"power({one} + {two}, 0.5)",
            f"({one} + {two}) / 2",
            f"({one} + 0.5 * union(tilt({two}), tilt({three})))",
            f"({one} + {positive} * (tilt({two}) | -probability({three})))",
        ]
        if forbidding:
            kinds += [f"({one} + {positive} * within({two}, {self.draw.choice(LIMITS)}))"] * 2
        if not self.sparse:
            other = self._of_mass_1(self.draw.randrange(levels), False)
            kinds += [
                f"({one} + {weight} * ({plain} - {other}))",
                f"({one} - {weight} * tilt({plain}))",
                f"({one} - 0.5 * union({plain}, {other})) / 0.5",
                f"-(-{one})" if not forbidding else f"(2 * {one} - {plain})",
            ]
        return self.draw.choice(kinds)

    def _weight(self) -> str:
        return self.draw.choice(NUMBERS if self.draw.random() < 0.6 else SCHEDULES)
