"""What learns behind one term of a formula: low-rank changes of a model's own weights, or a model of its own.

A trainee computes logits with gradient, and shows the engine what it has learned so far, so that samples come from the
policy as it is. One set of weights serves both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lmalgebra.algebra import Model, ModelTerm, Term
from lmalgebra.algebra.adapter import adapter_text
from lmalgebra.errors import TrainingError
from lmalgebra.models.adapters import linear_layers
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.peft_folder import LowRank, read_adapter, write_adapter
from lmalgebra.models.whole_texts import network_of, read_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_numbers = count(1)


class Trainee(nn.Module, ABC):
    """The parameters behind a term. `model` describes what the engine speaks with, and `language_model` is that.

    `checkpointing` computes layers again for the gradient instead of remembering them.
    """

    model: Model
    language_model: LanguageModel
    checkpointing: bool = False

    @abstractmethod
    def logits(self, texts: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        """After the last `wanted` tokens of each text, `[all wanted, vocabulary]`, at least float32, with gradient.

        Raises PromptError for a text that is too long.
        """

    @abstractmethod
    def spoken(self, description: ModelTerm) -> ModelTerm:
        """The term's description with what learns in it, for the engine."""

    @abstractmethod
    def untrained(self, description: ModelTerm) -> ModelTerm | None:
        """The term's description as it was before anything was learned; None where there was nothing."""

    @abstractmethod
    def renew(self) -> None:
        """Show the engine what is learned now. Raises ModelError while rows that know the old are open."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what is learned, so that a term can name the folder. Raises OSError."""

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Take what `save` has written. Raises ModelError for what does not fit."""

    def close(self) -> None:
        """Let the engine forget it."""


class LoraTrainee(Trainee):
    """Low-rank adaptation (arXiv 2106.09685) of a model's own weights, which the engine shares: they are there once.

    `targets` are the last parts of the names of the linear layers that are changed, or all but the output layer; or it
    goes on from `start`, a folder or hub id of PEFT's. The parameters are float32. Their products begin at 0, so that
    the adapted model is the model. Raises TrainingError for targets that there are not, ModelError for a model without
    gradients and for a start that does not fit.
    """

    def __init__(
        self,
        model: Model,
        language_model: LanguageModel,
        *,
        rank: int = 8,
        alpha: float | None = None,
        targets: Sequence[str] = (),
        start: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.language_model = model, language_model
        network = network_of(language_model.session).requires_grad_(False)
        self.place = f"what is learned ({next(_numbers)})"
        changes = read_adapter(start) if start else _fresh(network, model.source, rank, alpha, targets, seed)
        device = network.device
        self._layers = tuple(changes)
        self._scales = tuple(each.scale for each in changes.values())
        self.downs = nn.ParameterList(nn.Parameter(each.down.to(device, torch.float32)) for each in changes.values())
        self.ups = nn.ParameterList(nn.Parameter(each.up.to(device, torch.float32)) for each in changes.values())
        self.renew()

    @property
    def changes(self) -> dict[str, LowRank]:
        """The changes by the names of the layers, with gradient."""
        parts = zip(self._layers, self.downs, self.ups, self._scales, strict=True)
        return {layer: LowRank(down, up, scale) for layer, down, up, scale in parts}

    def logits(self, texts: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        return read_whole(self.language_model.session, texts, wanted, self.changes, self.checkpointing)

    def spoken(self, description: ModelTerm) -> ModelTerm:
        return replace(description, model=self.model, adapter=self.place)

    def untrained(self, description: ModelTerm) -> ModelTerm:
        return description

    def renew(self) -> None:
        self.language_model.session.renew_adapter(self.place, self.changes)

    def save(self, folder: Path) -> None:
        write_adapter(folder, self.changes, self.model.source)

    @torch.no_grad()
    def restore(self, folder: Path) -> None:
        found = read_adapter(str(folder))
        for name, mine in self.changes.items():
            its = found.get(name)
            if its is None or its.down.shape != mine.down.shape or not math.isclose(its.scale, mine.scale):
                raise TrainingError(f"'{folder}' is not of this training: '{name}' differs.", "Begin anew.")
            mine.down.copy_(its.down)
            mine.up.copy_(its.up)
        self.renew()

    def close(self) -> None:
        self.language_model.session.forget_adapter(self.place)


def open_lora(term: Term, open_model: Callable[[Model], LanguageModel], **options: Any) -> LoraTrainee:
    """A LoRA of the model of `term`, which goes on from the term's own adapter where it has one; `options` are
    LoraTrainee's. Raises TrainingError for a weighted sum of adapters, and what LoraTrainee raises."""
    description = term.description
    assert isinstance(description, ModelTerm)
    if description.adapter is not None and not isinstance(description.adapter, str):
        raise TrainingError(
            f"The term `{term.name}` is under {adapter_text(description.adapter)}, and only one adapter can learn.",
            "Name one adapter, or none.",
        )
    start = {"start": description.adapter} if description.adapter else {}
    return LoraTrainee(description.model, open_model(description.model), **options | start)


def _fresh(
    network: PreTrainedModel, source: str, rank: int, alpha: float | None, targets: Sequence[str], seed: int
) -> Mapping[str, LowRank]:
    """Changes that change nothing yet: the first factor is drawn as PEFT draws it, and the second is 0."""
    if rank < 1:
        raise TrainingError(f"rank={rank} is no rank.", "Give a whole number of at least 1.")
    output = network.get_output_embeddings()
    layers = {name: layer for name, layer in linear_layers(network).items() if layer.module is not output}
    ends = {name.rpartition(".")[2] for name in layers}
    if unknown := [target for target in targets if target not in ends]:
        raise TrainingError(
            f"'{source}' has no linear layers called '{unknown[0]}'.", f"There are {', '.join(sorted(ends))}."
        )
    draw, scale = torch.Generator().manual_seed(seed), (2 * rank if alpha is None else alpha) / rank
    found = {}
    for name, layer in layers.items():
        if not targets or name.rpartition(".")[2] in targets:
            reach = 1 / math.sqrt(layer.inputs)
            down = torch.empty(rank, layer.inputs).uniform_(-reach, reach, generator=draw)
            found[name] = LowRank(down, torch.zeros(layer.last - layer.first, rank), scale)
    return found
