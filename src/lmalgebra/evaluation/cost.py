"""What a voice costs: the time of a token, beside that of its first model alone.

All voices speak in turn, in several rounds, so that whatever else the machine does meets all of them alike; medians of
the rounds are told. Nothing of this is kept: times belong to a machine and a moment.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.composed import Prompt

ROUNDS = 3
PROMPTS = 4
SAMPLES = 8


def costs(
    voices: Mapping[str, ComposedVoice], prompts: Sequence[Prompt], settings: GenerationSettings
) -> dict[str, dict[str, Any]]:
    """For each voice the seconds of a token, and how many times those of its first model alone, over some prompts."""
    asked, few = prompts[:PROMPTS], settings.replace(samples=min(settings.samples, SAMPLES))
    alone = {name: voice.with_formula(voice.plan.speakers[0]) for name, voice in voices.items()}
    for voice in (*voices.values(), *alone.values()):
        _seconds(voice, asked[:1], few.replace(samples=1))  # weights load, kernels are compiled
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in voices}
    for _ in range(ROUNDS):
        for name, voice in voices.items():
            times[name].append((_seconds(voice, asked, few), _seconds(alone[name], asked, few)))
    return {
        name: {
            "seconds_per_token": round(median(own for own, _ in each), 6),
            "relative": round(median(own / other for own, other in each), 3),
            "samples": len(asked) * few.samples,
            "rounds": ROUNDS,
        }
        for name, each in times.items()
    }


def _seconds(voice: ComposedVoice, prompts: Sequence[Prompt], settings: GenerationSettings) -> float:
    """Seconds of a token, prompts included."""
    start, tokens = perf_counter(), 0
    for sample in voice.generate_many(
        prompts, **{key: getattr(settings, key) for key in settings.__dataclass_fields__}
    ):
        tokens += len(sample.tokens)
    return (perf_counter() - start) / max(tokens, 1)
