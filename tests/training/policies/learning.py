"""Policies over small voices: exact toys, and random networks of letters."""

from pathlib import Path
from typing import Any

import torch

import lmalgebra as la
from lmalgebra.algebra import Formula, GenerationSettings, Model, Term, Voice, parse
from lmalgebra.models.table import TableModel
from lmalgebra.training.policies.controls import learning_term
from lmalgebra.training.policies.policy import FormulaPolicy
from lmalgebra.training.policies.toy_network import ToyNetwork
from lmalgebra.training.policies.trainee import LoraTrainee, Trainee, open_lora

FORMULAS = (
    "base + 0.8 * tilt(adapter)",
    "base - 0.96 * union(toxic, base) + tilt(adapter)",
    "base + 0.5 * (adapter - base)",
    "adapter",
    "mix(0.3 * adapter, 0.7 * base)",
    "power(adapter, 2) + tilt(intersection(adapter, base))",
    "base + ramp(0, 1, tokens=3) * tilt(mix(0.5 * adapter, 0.5 * toxic)) + within(adapter, top_k=9)",
)
"""Those in which `adapter` learns, in several places of some."""

PROMPTS = ["abc", "hag a bed", "d."]
SAID = ["cab", "h. ge", "a"]


def letters_voice(
    folder: Path, formula: str, dtype: str = "float32", prefix: str | None = "", **settings: Any
) -> Voice:
    """A voice over the random network of letters in `folder`; its terms read other prefixes."""
    model = Model(source=str(folder), dtype=dtype, device="cpu", name="letters")
    terms = {
        "base": model.term(name="base", prefix=prefix),
        "toxic": model.term(name="toxic", prefix="bad "),
        "adapter": model.term(name="adapter", prefix=prefix),
    }
    return Voice(parse(formula, terms), GenerationSettings(**{"max_new_tokens": 8} | settings))


def lora(voice: Voice, models: la.Models, spread: float = 0.2, **options: Any) -> LoraTrainee:
    """A LoRA of the model that the voice names, whose second factors are not 0 any more."""
    trainee = open_lora(learning_term(voice.formula, "adapter"), models, **{"rank": 3} | options)
    disturb(trainee, spread)
    return trainee


@torch.no_grad()
def disturb(trainee: Trainee, spread: float = 0.2, seed: int = 0) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in trainee.parameters():
        parameter += spread * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)


def policy_of(voice: Voice, trainee: Trainee, models: la.Models, **options: Any) -> FormulaPolicy:
    return FormulaPolicy(voice, "adapter", trainee, models, models.scorer, **options)


def toy_terms(**prefixes: str) -> dict[str, Term]:
    return {
        name: Model(source=f"toy:{seed}").term(name=name, prefix=prefixes.get(name, ""))
        for seed, name in enumerate(("base", "toxic", "adapter"), 1)
    }


def toy_policy(
    formula: str, network: ToyNetwork | None = None, reference: Formula | None = None, **others: Term
) -> FormulaPolicy:
    """A policy over exact toys, of a network that looks at one token and the first; `others` are more terms."""
    network = network or ToyNetwork(TableModel(), order=1, sees_first=True, spread=0.7)
    voice = Voice(parse(formula, toy_terms() | others), GenerationSettings(max_new_tokens=6))
    return policy_of(voice, network, la.Models(), reference=reference)


def tokens_of(policy: FormulaPolicy, texts: list[str]) -> list[list[int]]:
    return [policy.tokenizer.encode([text], start=False) for text in texts]
