"""How likely two continuations are under two formulas, token by token.

python examples/score.py
"""

import lmalgebra as la

small = la.model("smollm2-135m")
base = small.term(name="base", system="You are a helpful assistant.")
child = small.term(name="child", system="You explain everything to a five year old with simple words.")

for formula in (base, base + 1.5 * (child - base)):
    voice = la.voice(formula)
    for text in ("The sky is blue because of Rayleigh scattering.", "The sky is blue because light bounces around."):
        score = voice.score("Why is the sky blue?", text)
        print(f"{score.total:8.2f} nats  {text}  under  {formula}")
