"""No weights at all: an exact toy model, whose laws can be checked by summing.

python examples/toy.py
"""

import lmalgebra as la
from lmalgebra import decay, mix, ramp, within

toy = la.model("toy")
base, other = toy.term(name="base"), toy.term(name="other", prefix="in other words: ")
formulas = [
    base,
    base + ramp(0, 1, tokens=10) * (other - base),
    base + decay(1, half_life=4) * (other - base) + within(base, min_p=0.05),
    mix(0.3 * base, 0.7 * other),
]

for formula in formulas:
    print(formula.tree())
    print("says", repr(la.voice(formula, max_new_tokens=20).generate("hello.").text), "\n")
