"""A small language model that learns as a whole, as the paper's adapters do (arXiv 2305.15065, section 2.2).

Its layers and weights stay as Transformers has them, and the engine reads the very parameters that are learned, so
there is nothing to hand over after an update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lmalgebra.algebra import Model, ModelTerm
from lmalgebra.errors import ModelError, TrainingError
from lmalgebra.models.loading import choose_device, language_model_of, load_parts, quiet, resolve
from lmalgebra.models.store import Report, silent
from lmalgebra.models.whole_texts import read_whole
from lmalgebra.training.policies.trainee import Trainee

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_numbers = count(1)


class ModelTrainee(Trainee):
    """All parameters of a network of Transformers'; `tokenizer` is saved with it.

    `source` is the folder or hub id that it began as, or "" for one that is new. With `precision` "bfloat16" the
    products that have a gradient are computed in it, from parameters that stay as they are.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        source: str = "",
        precision: str = "float32",
    ) -> None:
        super().__init__()
        name = f"learning-{next(_numbers)}"
        self.network, self.source, self._tokenizer = network.requires_grad_(True), source, tokenizer
        self.language_model = language_model_of(network, tokenizer, source or name, trainable=True)
        self.model = Model(source=name, name=name)  # other terms may speak by `source` as it is
        self._precision = getattr(torch, precision)

    def logits(self, texts: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        device = self.network.device.type
        with torch.autocast(device, self._precision, enabled=self._precision != torch.float32):
            return read_whole(self.language_model.session, texts, wanted, checkpointing=self.checkpointing)

    def spoken(self, description: ModelTerm) -> ModelTerm:
        return replace(description, model=self.model, adapter=None)

    def untrained(self, description: ModelTerm) -> ModelTerm | None:
        if not self.source:
            return None
        device = self.network.device.type
        return replace(description, model=Model(self.source, engine="torch", dtype="float32", device=device))

    def renew(self) -> None:
        """The engine reads the parameters themselves."""

    def save(self, folder: Path) -> None:
        with quiet():
            self.network.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        from safetensors.torch import load_model

        try:
            load_model(self.network, folder / "model.safetensors")
        except (OSError, RuntimeError) as error:
            raise ModelError(f"'{folder}' is not of this training ({error}).", "Begin anew.") from error


def open_own_model(
    source: str,
    *,
    layers: int = 0,
    hidden_size: int = 0,
    device: str = "auto",
    precision: str = "float32",
    seed: int = 0,
    report: Report = silent,
) -> ModelTrainee:
    """The model `source`, to learn as a whole; or, with `layers` or `hidden_size`, a new one like it of that size.

    Raises ModelError for a source that cannot be loaded, TrainingError for a size that it cannot have.
    """
    place, folder = torch.device(choose_device(device)), resolve(source, report)
    if not layers and not hidden_size:
        report(f"Loading {source} ...")
        with quiet():
            network, tokenizer = load_parts(source, folder, torch.float32, place)
        return ModelTrainee(network, tokenizer, source, precision)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            network = AutoModelForCausalLM.from_config(_resized(config, layers, hidden_size), dtype=torch.float32)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise TrainingError(
                f"No new model like '{source}' can be made: {' '.join(str(error).split())[:300]}",
                "Choose other numbers for its layers and its hidden size.",
            ) from error
    return ModelTrainee(network.to(place), tokenizer, "", precision)


def _resized(config: PreTrainedConfig, layers: int, hidden_size: int) -> PreTrainedConfig:
    """The configuration with so many layers, and vectors of that size in heads as large as before; 0 keeps a size."""
    own = config.get_text_config()
    if layers:
        own.num_hidden_layers = layers
        if getattr(own, "layer_types", None):
            own.layer_types = own.layer_types[:layers]
    if hidden_size:
        head = getattr(own, "head_dim", None) or own.hidden_size // own.num_attention_heads
        if hidden_size % head:
            raise ValueError(f"hidden_size={hidden_size} is no multiple of {head}, the size of a head.")
        if getattr(own, "intermediate_size", None):
            own.intermediate_size = own.intermediate_size * hidden_size // own.hidden_size
        own.hidden_size, own.num_attention_heads = hidden_size, hidden_size // head
        if getattr(own, "num_key_value_heads", None):
            own.num_key_value_heads = own.num_attention_heads
    return config
