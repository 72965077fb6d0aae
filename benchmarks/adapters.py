"""What terms under adapters cost: formulas over one set of weights, over the base alone.

    python benchmarks/adapters.py [--repeats 8] [--tokens 16] [--rank 16] [--dtype bfloat16] [--output FILE]

The adapters change every linear layer but the output layer; their numbers are random, since only time is measured. All
terms have the same prompt, and the same formulas with two and three prompts in place of adapters run beside them, which
tells what the rows cost from what the adapters cost. Time per token is as in side_by_side.py, everything in turn in one
process, by each engine that this machine has.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import side_by_side
import torch
from safetensors.torch import save_file
from side_by_side import SYSTEMS, Run, speak

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.adapters import linear_layers
from lmalgebra.models.native import has_compiler

BATCHES = (1, 8)
ADAPTERS = ("formal", "short")


def main() -> None:
    options = side_by_side.options(__doc__, __file__, repeats=8, tokens=16, rank=16, dtype="bfloat16").parse_args()
    engines = ("torch", "native") if has_compiler() else ("torch",)
    with TemporaryDirectory() as folder:
        voices: dict[str, ComposedVoice] = {}
        for engine in engines:
            model = la.model(side_by_side.WEIGHTS, engine=engine, dtype=options.dtype)
            voices |= {f"{engine}, {name}": voice for name, voice in _voices(model, Path(folder), options.rank).items()}
        runs = [
            Run(name, batch, lambda tokens, voice=voice, batch=batch: speak(voice, batch, tokens))
            for batch in BATCHES
            for name, voice in voices.items()
        ]
        times, _ = side_by_side.measure(runs, options.tokens, options.repeats)
    results = side_by_side.record(options) | {
        "per_token": side_by_side.per_token(times),
        "ratios": side_by_side.ratios(times, [pair for engine in engines for pair in _pairs(engine)], BATCHES),
    }
    side_by_side.show("Time per token", results["per_token"])
    side_by_side.show("Ratios of times per token", results["ratios"])
    side_by_side.write(results, options.output)


def _voices(model: la.Model, folder: Path, rank: int) -> dict[str, ComposedVoice]:
    """The base alone, and with one and two more rows, each under an adapter or under another prompt."""
    base, formal, child = side_by_side.terms(model, "base", "formal", "child")
    alone = la.voice(base)
    for seed, name in enumerate(ADAPTERS):
        save_random_adapter(alone, folder / name, rank, seed)
    one, two = (model.term(name=name, system=SYSTEMS["base"], adapter=str(folder / name)) for name in ADAPTERS)
    return {
        "base": alone,
        "base and 1 adapter": la.voice(base + 0.5 * (one - base)),
        "base and 2 adapters": la.voice(base + 0.3 * (one - base) + 0.2 * (two - base)),
        "2 prompts": la.voice(base + 0.5 * (formal - base)),
        "3 prompts": la.voice(base + 0.3 * (formal - base) + 0.2 * (child - base)),
    }


def save_random_adapter(voice: ComposedVoice, folder: Path, rank: int, seed: int) -> None:
    """An adapter for the model of a voice of one term, as PEFT saves one."""
    model = voice.loaded.sessions[voice.loaded.plan.leaves[0]].network
    output_layer, draw = model.get_output_embeddings(), torch.Generator().manual_seed(seed)
    matrices = {}
    for name, layer in linear_layers(model).items():
        if layer.module is not output_layer and name.startswith("model.layers.") and name.endswith("_proj"):
            outputs = layer.last - layer.first
            matrices[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, layer.inputs, generator=draw)
            matrices[f"base_model.model.{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=draw) / 1000
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": rank}))
    save_file(matrices, folder / "adapter_model.safetensors")


def _pairs(engine: str) -> list[tuple[str, str]]:
    """Runs whose times are compared, one over the other."""
    base, one, two = f"{engine}, base", f"{engine}, base and 1 adapter", f"{engine}, base and 2 adapters"
    prompts = (f"{engine}, 2 prompts", f"{engine}, 3 prompts")
    return [(one, base), (two, base), (prompts[0], base), (one, prompts[0]), (two, prompts[1])]


if __name__ == "__main__":
    main()
