"""A stand-in for a large model: SmolLM2-135M's own law at several times the cost.

Only one small chat model is in the catalogue, so a large model of the same vocabulary is made from it: the same weights
and then copies of its layers whose output projections (`o_proj` and `down_proj`) are zero. Such a layer computes what
every other one does and adds exactly nothing, so the model says what the small one says, token for token.

It stands in for cost only: a real large model has better text, and drafts of a small one are accepted as often as the
two agree. Here that agreement is that of two prompts of one model.
"""

import copy
from pathlib import Path

import torch
import transformers
from side_by_side import WEIGHTS
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from lmalgebra.models import catalog


def stand_in(times: int) -> Path:
    """The folder of a model with so many times the layers, in bfloat16; made once, in the cache folder."""
    folder = catalog.cache_folder() / "benchmarks" / f"{WEIGHTS}-layers-times-{times}"
    if not folder.exists():
        transformers.logging.disable_progress_bar()
        source = catalog.path(WEIGHTS)
        print(f"Making {folder}, once ...", flush=True)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        lengthen(model, times)
        draft = folder.with_name(f"{folder.name}.draft")
        model.save_pretrained(draft)
        AutoTokenizer.from_pretrained(source).save_pretrained(draft)
        draft.rename(folder)
    return folder


@torch.no_grad()
def lengthen(model: PreTrainedModel, times: int) -> None:
    """Add copies of the layers that add nothing, until there are so many times as many."""
    layers = model.model.layers
    own = len(layers)
    for index in range(own, times * own):
        layer = copy.deepcopy(layers[index % own])
        layer.self_attn.layer_idx = index
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        layers.append(layer)
    model.config.num_hidden_layers = len(layers)
