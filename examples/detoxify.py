"""The union formula of model arithmetic (arXiv 2311.14479): less of what a toxic context makes more likely.

python examples/detoxify.py
"""

import lmalgebra as la
from lmalgebra import union

small = la.model("smollm2-135m")
base = small.term(prefix="")
toxic = small.term(prefix="The following text is rude, insulting and full of hate:\n")
prompt = "I told him what I think of his driving: you"

for name, formula in (("plain", base), ("union", base - 0.96 * union(toxic, base))):
    said = la.voice(formula, max_new_tokens=24, top_p=0.9, seed=4).generate(prompt, samples=3)
    for sample in said.samples:
        print(f"{name}: {prompt}{sample.text!r}")
