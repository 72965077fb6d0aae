"""A LoRA adapter as PEFT saves it: a folder with `adapter_config.json` and `adapter_model.safetensors`.

Low-rank adaptation (arXiv 2106.09685) adds `scale * (x A^T) B^T` to a linear layer's outputs. The weights' file names
each layer that is changed, so of the configuration only the scales are needed; but all of it is read, since whatever
else it asks for would make another model of it: such an adapter is refused. PEFT is what the tests compare with.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from lmalgebra.errors import ModelError
from lmalgebra.models.engines import is_place

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_MATRIX = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<which>[AB])\.weight")

_OTHERWISE = {
    "use_dora": "it changes the weights' magnitudes too (DoRA)",
    "modules_to_save": "it brings whole layers of its own (modules_to_save)",
    "lora_bias": "it has biases (lora_bias)",
    "layer_replication": "it repeats layers of the model (layer_replication)",
    "target_parameters": "it changes parameters that are no linear layer's (target_parameters)",
    "trainable_token_indices": "it changes the embeddings of tokens (trainable_token_indices)",
    "alora_invocation_tokens": "it begins in the middle of a text (aLoRA)",
}
"""Options of PEFT's that are known to make something else of an adapter, and what."""

_SILENT = {
    *(
        "peft_type",
        "peft_version",
        "task_type",
        "auto_mapping",
        "inference_mode",
        "base_model_name_or_path",
        "revision",
    ),
    *("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "init_lora_weights"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"),
    *("lora_dropout", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_config"),
    *("megatron_core", "qalora_group_size", "ensure_weight_tying"),
}
"""Options that are read here, or that matter only where the adapter is trained or put into a model."""

_HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Of `init_lora_weights`. With any other one, what is trained is the rest of weights that PEFT has changed before."""

_MEND = "Train a plain LoRA, or merge it into its base with PEFT's merge_and_unload and load that as a model."
_FETCH_AGAIN = "Fetch or save it again."


@dataclass(frozen=True)
class LowRank:
    """What is added to a linear layer's outputs: `scale * (x down^T) up^T`; `[rank, inputs]` and `[outputs, rank]`."""

    down: Tensor
    up: Tensor
    scale: float


def read_adapter(source: str) -> dict[str, LowRank]:
    """The changes of an adapter, a folder or a hub id, by the names that Transformers gives to the layers.

    Raises ModelError, naming `source`, for what is not there, not whole, or more than a LoRA of linear layers.
    """
    config_file, weights_file = _files(source)
    config = _read_config(source, config_file)
    _refuse_other_kinds(source, config)
    downs: dict[str, Tensor] = {}
    ups: dict[str, Tensor] = {}
    for name, tensor in _read_weights(source, weights_file).items():
        found = _MATRIX.fullmatch(name)
        if found is None or tensor.ndim != 2:
            raise refused(source, f"its {WEIGHTS} holds '{name}', which is no matrix of a LoRA", _MEND)
        (downs if found["which"] == "A" else ups)[found["layer"]] = tensor
    if not downs or downs.keys() != ups.keys():
        layers = sorted(downs.keys() ^ ups.keys())
        missing = f"half of the matrices for '{layers[0]}' is missing" if layers else "it changes nothing"
        raise refused(source, missing, _FETCH_AGAIN)
    return {layer: _low_rank(source, config, layer, down, ups[layer]) for layer, down in downs.items()}


def refused(source: str, reason: str, hint: str = "") -> ModelError:
    """The error that an adapter cannot be used, for `reason`."""
    return ModelError(f"The adapter '{source}' cannot be used: {reason}.", hint)


def _files(source: str) -> tuple[Path, Path]:
    """Where the configuration and the weights are. Raises ModelError for what cannot be found or fetched."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise refused(
                source, f"the folder holds no {CONFIG}", "Give a folder that PEFT's save_pretrained has made."
            )
        if not (folder / WEIGHTS).is_file():
            pickled = "; its pickled weights (*.bin) are not loaded" if any(folder.glob("*.bin")) else ""
            raise refused(source, f"the folder holds no {WEIGHTS}{pickled}", "Save it with PEFT's save_pretrained.")
        return folder / CONFIG, folder / WEIGHTS
    if is_place(source) or "/" not in source:
        raise refused(source, "there is no such folder", "Give a folder that PEFT has saved, or a hub id.")
    return _fetched(source, CONFIG), _fetched(source, WEIGHTS)


def _fetched(source: str, file: str) -> Path:
    """A file from the hub, or from where an earlier download is kept."""
    from transformers.utils import cached_file

    try:
        return Path(cached_file(source, file))
    except (OSError, ValueError) as error:
        raise refused(source, _one_line(error), "Check the name and the network, or give a folder.") from error


def _read_config(source: str, file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refused(source, f"its {CONFIG} cannot be read ({_one_line(error)})", _FETCH_AGAIN) from error
    if not isinstance(config, dict):
        raise refused(source, f"its {CONFIG} holds no table", _FETCH_AGAIN)
    return config


def _read_weights(source: str, file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise refused(source, f"its {WEIGHTS} cannot be read ({_one_line(error)})", _FETCH_AGAIN) from error


def _refuse_other_kinds(source: str, config: Mapping[str, Any]) -> None:
    kind, bias, start = (config.get(key) for key in ("peft_type", "bias", "init_lora_weights"))
    if kind != "LORA":
        raise refused(source, f"it is of the kind {kind!r} of PEFT's, and only 'LORA' is computed here", _MEND)
    if bias not in (None, "none"):
        raise refused(source, f"it changes biases too (bias={bias!r})", _MEND)
    if start not in _HARMLESS_STARTS:
        raise refused(source, f"it is for weights that were changed first (init_lora_weights={start!r})", _MEND)
    for option, value in config.items():
        if value and option not in _SILENT:
            what = _OTHERWISE.get(option, f"it asks for {option}={value!r}, which is not known here")
            raise refused(source, what, _MEND)


def _low_rank(source: str, config: Mapping[str, Any], layer: str, down: Tensor, up: Tensor) -> LowRank:
    """The change of one layer. Raises ModelError where its matrices and its configuration do not fit together."""
    rank = _of_layer(source, config, "rank_pattern", "r", layer)
    alpha = _of_layer(source, config, "alpha_pattern", "lora_alpha", layer)
    if down.shape[0] != rank or up.shape[1] != rank:
        shapes = f"{list(down.shape)} and {list(up.shape)}"
        raise refused(source, f"the matrices for '{layer}' are {shapes}, and its rank is {rank:g}", _FETCH_AGAIN)
    if not (down.isfinite().all() and up.isfinite().all()):
        raise refused(source, f"the matrices for '{layer}' hold numbers that are not finite", _FETCH_AGAIN)
    return LowRank(down, up, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _of_layer(source: str, config: Mapping[str, Any], pattern: str, default: str, layer: str) -> float:
    """A number of the configuration: that of the first pattern which is the end of the layer's name, or the default."""
    try:
        patterns = dict(config.get(pattern) or {})
        found = [patterns[each] for each in patterns if re.match(rf"(.*\.)?({each})$", layer)]
        number = float(found[0] if found else config[default])
        if not math.isfinite(number) or (default == "r" and number <= 0):
            raise ValueError(number)
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise refused(
            source, f"its {CONFIG} has no usable {default} for '{layer}' ({error!r})", _FETCH_AGAIN
        ) from error
    return number


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")


def write_adapter(folder: Path, changes: Mapping[str, LowRank], base: str) -> None:
    """Write the changes of the model `base`, by the names of its layers, as PEFT does. Raises OSError."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors, ranks, alphas = {}, {}, {}
    for layer, change in changes.items():
        for which, part in (("A", change.down), ("B", change.up)):
            tensors[f"base_model.model.{layer}.lora_{which}.weight"] = part.detach().cpu().contiguous()
        ranks[layer] = len(change.down)
        alphas[layer] = change.scale * len(change.down)
    rank, alpha = (max(set(found.values()), key=list(found.values()).count) for found in (ranks, alphas))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {layer: each for layer, each in ranks.items() if each != rank},
        "alpha_pattern": {layer: each for layer, each in alphas.items() if each != alpha},
        "target_modules": sorted({layer.rpartition(".")[2] for layer in changes}),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
