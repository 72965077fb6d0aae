"""The same formulas by each engine: llama.cpp on the 4-bit file, PyTorch on its weights in bfloat16.

    python benchmarks/engines.py [--engines llamacpp,torch,native+int4] [--repeats 8] [--tokens 24] [--output FILE]

Formulas of 1 to 4 terms at batch 1 and 8, greedy, time per token as in side_by_side.py, everything in turn in one
process. Beside them `llama_decode` alone with the same rows, each of which says its own likeliest token (1 row is
llama.cpp's plain generation), and Transformers' `generate` of the plain model in bfloat16.

Not comparable: what is said. llama.cpp rounds what it multiplies with 4-bit weights to 8 bits.
"""

import side_by_side
import torch
from side_by_side import Reference, Run, speak

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.native import has_compiler

BATCHES = (1, 8)
PLAIN = "llama_decode alone, 1 term"


def main() -> None:
    engines = "llamacpp,torch,native+int4" if has_compiler() else "llamacpp,torch"
    options = side_by_side.options(__doc__, __file__, engines=engines, repeats=8, tokens=24).parse_args()
    reference = Reference("bfloat16")
    voices: dict[str, ComposedVoice] = {}
    for engine in options.engines.split(","):
        name, _, rounded = engine.partition("+")
        model = la.model(side_by_side.WEIGHTS, engine=name, quantization=rounded or "none")
        formulas = side_by_side.formulas(model)
        voices |= {f"{engine}, {terms}": la.voice(formula) for terms, formula in formulas.items()}
    runs = [run for batch in BATCHES for run in _runs(voices, reference, batch)]
    times, _ = side_by_side.measure(runs, options.tokens, options.repeats)
    results = side_by_side.record(options) | {
        "per_token": side_by_side.per_token(times),
        "ratios": side_by_side.ratios(times, _pairs(voices), BATCHES),
    }
    side_by_side.show("Time per token", results["per_token"])
    side_by_side.show("Ratios of times per token", results["ratios"])
    side_by_side.write(results, options.output)


def _runs(voices: dict[str, ComposedVoice], reference: Reference, batch: int) -> list[Run]:
    runs = [Run("generate", batch, lambda tokens: reference.plain(batch, tokens))]
    for name, voice in voices.items():
        runs.append(Run(name, batch, lambda tokens, voice=voice: speak(voice, batch, tokens)))
        if name.startswith("llamacpp"):
            alone = name.replace("llamacpp", "llama_decode alone")
            runs.append(Run(alone, batch, lambda tokens, voice=voice: _decode_alone(voice, batch, tokens)))
    return runs


def _decode_alone(voice: ComposedVoice, batch: int, tokens: int) -> None:
    """Each row of the voice says its likeliest tokens; nothing but `llama_decode` and an argmax is called for them."""
    session = voice.loaded.sessions[voice.loaded.plan.leaves[0]]
    contexts = side_by_side.contexts(voice, batch)
    rows = [session.open(room=len(context) + tokens) for context in contexts]
    try:
        logits = session.extend(dict(zip(rows, contexts, strict=True)), dict.fromkeys(rows, 1))
        said = torch.cat(list(logits.values())).argmax(-1).tolist()
        sequences, wanted = [session._rows[row].sequence for row in rows], [1] * len(rows)
        for count in range(tokens - 1):
            entries = (said, [len(context) + count for context in contexts], sequences, wanted)
            said = session._decode(entries).argmax(-1).tolist()
    finally:
        for row in rows:
            session.close(row)


def _pairs(voices: dict[str, ComposedVoice]) -> list[tuple[str, str]]:
    """Runs whose times are compared, one over the other."""
    pairs = [("llamacpp, 2 terms", PLAIN), ("generate", "llamacpp, 2 terms")]
    pairs += [
        (f"llamacpp, {n} term{'s' * (n > 1)}", f"llama_decode alone, {n} term{'s' * (n > 1)}") for n in range(1, 5)
    ]
    others = [name for name in voices if not name.startswith("llamacpp")]
    return pairs + [(name, "llamacpp, " + name.split(", ")[1]) for name in others]


if __name__ == "__main__":
    main()
