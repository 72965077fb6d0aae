"""The network that is trained by contrast: all of its weights, or low-rank updates over frozen ones; and its start."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lmalgebra.errors import TrainingError
from lmalgebra.models.loading import choose_device, choose_dtype, load_parts, quiet, resolve
from lmalgebra.models.store import Report
from lmalgebra.training.classifiers.network import missing_extra
from lmalgebra.training.contrast.settings import ContrastSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def open_network(settings: ContrastSettings, report: Report) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The network with what is to be trained free and the rest frozen, and its tokenizer.

    Raises ModelError when there is no such model, TrainingError where `qlora` or the targets cannot be had,
    MissingExtraError when PEFT is asked for and missing.
    """
    from transformers import set_seed

    if settings.method != "full" and find_spec("peft") is None:
        raise missing_extra("PEFT")
    place = torch.device(choose_device(settings.device))
    if settings.method == "qlora":
        _require_four_bits(place)
    folder = resolve(settings.model, report)
    kind = training_dtype(settings, place)
    report(f"Loading {settings.model} ({str(kind)[6:]} on {place.type}) ...")
    set_seed(settings.seed)
    with quiet():
        if settings.method == "qlora":
            model, tokenizer = _four_bits(settings, folder, kind)
        else:
            model, tokenizer = load_parts(settings.model, folder, kind, place)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return (model if settings.method == "full" else _with_updates(model, settings)), tokenizer


def training_dtype(settings: ContrastSettings, place: torch.device) -> torch.dtype:
    """`auto` is float32 where all weights are trained, since small steps are lost in half precision."""
    return (
        torch.float32 if settings.method == "full" and settings.dtype == "auto" else choose_dtype(settings.dtype, place)
    )


def _require_four_bits(place: torch.device) -> None:
    """Raise TrainingError where 4-bit weights cannot be computed with."""
    if place.type != "cuda":
        raise TrainingError(f"method = 'qlora' needs a CUDA GPU, and here is {place.type}.", "Use method = 'lora'.")
    if find_spec("bitsandbytes") is None:
        raise TrainingError(
            "method = 'qlora' needs bitsandbytes, which is not installed.", "Install it with: pip install bitsandbytes"
        )


def _four_bits(
    settings: ContrastSettings, folder: str, kind: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The weights in NormalFloat4 with scales quantized once more (QLoRA, Dettmers et al. 2023, arXiv 2305.14314)."""
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    chosen = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=kind
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=chosen,
        dtype=kind,
        device_map={"": 0},
        use_safetensors=True,
        trust_remote_code=False,
    )
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=settings.gradient_checkpointing), tokenizer


def _with_updates(model: PreTrainedModel, settings: ContrastSettings) -> PreTrainedModel:
    """The network under a LoRA that changes nothing yet. Raises TrainingError for targets that it does not have."""
    from peft import LoraConfig, get_peft_model

    targets = settings.targets[0] if settings.targets == ("all-linear",) else list(settings.targets)
    chosen = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.lora_scale * settings.rank,
        lora_dropout=settings.lora_dropout,
        target_modules=targets,
    )
    with quiet_peft():
        try:
            updated = get_peft_model(model, chosen)
        except ValueError as error:
            reason = " ".join(str(error).split())[:200]
            raise TrainingError(
                f"targets = {list(settings.targets)} cannot be trained: {reason}",
                "Name linear layers, or 'all-linear'.",
            ) from error
    if settings.gradient_checkpointing:
        updated.enable_input_require_grads()
    return updated


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Keep off the terminal what PEFT mends itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it asks Transformers by an old name
        warnings.filterwarnings("ignore", "fan_in_fan_out")
        yield


def save_updates(model: PreTrainedModel, settings: ContrastSettings, folder: Path) -> None:
    """Write the adapter as PEFT does, over the model as the user has named it."""
    config = model.peft_config["default"]
    before, config.base_model_name_or_path = config.base_model_name_or_path, settings.model
    model.save_pretrained(folder, save_embedding_layers=False)  # else PEFT would ask a hub for the model
    config.base_model_name_or_path = before


def start_of(model: PreTrainedModel, settings: ContrastSettings) -> Callable[[], object]:
    """Opens, as a context, the network as it was before training: without updates, or a copy where all is trained."""
    if settings.method != "full":

        @contextmanager
        def without_updates() -> Iterator[PreTrainedModel]:
            with model.disable_adapter():
                yield model

        return without_updates
    frozen = copy.deepcopy(model).eval().requires_grad_(False)

    @contextmanager
    def as_it_was() -> Iterator[PreTrainedModel]:
        yield frozen.to(model.device)

    return as_it_was


def merged(model: PreTrainedModel, settings: ContrastSettings, adapter: str) -> PreTrainedModel:
    """The network with the updates of the folder `adapter` laid into its weights; 4-bit ones are loaded whole again."""
    if settings.method != "qlora":
        return model.merge_and_unload()
    from peft import PeftModel

    whole, _ = load_parts(settings.model, resolve(settings.model, lambda _: None), model.dtype, torch.device("cpu"))
    return PeftModel.from_pretrained(whole, adapter).merge_and_unload()
