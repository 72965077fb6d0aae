"""One prompt under growing weights: how finely a formula steers.

python examples/weights.py
"""

import lmalgebra as la

small = la.model("smollm2-135m")
base = small.term(system="You are a helpful assistant.")
poet = small.term(system="You are a romantic poet who answers in verse.")

for weight in (0, 1, 2):
    voice = la.voice(base + weight * (poet - base), temperature=0, max_new_tokens=32)
    print(f"weight {weight}: {voice.generate('Describe a city at night.').text}\n")
