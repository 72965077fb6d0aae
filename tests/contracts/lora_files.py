"""LoRA adapters for the tiny models, and the models into which they are merged: PEFT makes both."""

import atexit
from copy import deepcopy
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GPT2PreTrainedModel, PreTrainedModel

from lmalgebra.algebra.adapter import Adapter, summands


def scratch_folder() -> Path:
    """A folder that lasts as long as the tests."""
    folder = Path(mkdtemp(prefix="lmalgebra-tests-"))
    atexit.register(rmtree, folder)
    return folder


def save_adapter(model: PreTrainedModel, folder: Path, seed: int = 0, **settings: Any) -> str:
    """An adapter of all linear layers with random numbers, unless `settings` say otherwise; returns its folder."""
    given = {"r": 3, "lora_alpha": 5, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | settings
    config = LoraConfig(fan_in_fan_out=isinstance(model, GPT2PreTrainedModel), **given)
    tuned = get_peft_model(deepcopy(model), config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.25, generator=draw)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return str(folder)


def merged(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """A copy of `model` with a weighted sum of adapters merged into its weights."""
    places = summands(adapter)
    names = [f"adapter{number}" for number in range(len(places))]
    tuned = PeftModel.from_pretrained(deepcopy(model), places[0][0], adapter_name=names[0])
    for name, (place, _) in zip(names[1:], places[1:], strict=True):
        tuned.load_adapter(place, adapter_name=name)
    if not isinstance(adapter, str):
        tuned.add_weighted_adapter(names, [weight for _, weight in places], "sum", combination_type="cat")
        tuned.set_adapter("sum")
    return tuned.merge_and_unload().eval()
