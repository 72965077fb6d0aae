"""The network that a classifier is trained from: an encoder or a causal model with a fresh head, and its tokenizer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmalgebra.errors import MissingExtraError, TrainingError
from lmalgebra.models.loading import quiet, resolve
from lmalgebra.models.store import Report
from lmalgebra.training.classifiers.settings import ClassifierSettings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError)


def open_network(
    settings: ClassifierSettings, labels: Sequence[str], report: Report
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The network in float32, its head drawn by the seed, and the tokenizer that is saved with it.

    Raises ModelError when there is no such model, TrainingError when it has no head for texts or too few layers,
    MissingExtraError when PEFT is asked for and missing.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, set_seed

    folder = resolve(settings.model, report)
    report(f"Loading {settings.model} ...")
    set_seed(settings.seed)
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            _adapt(config, tokenizer, settings, labels)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                dtype="float32",
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except _LOAD_ERRORS as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(
                f"The model '{settings.model}' cannot be trained: {reason}",
                "Use an encoder or a causal model of Transformers, with safetensors.",
            ) from error
    lost = [name for name in loading["missing_keys"] if name.startswith(f"{model.base_model_prefix}.")]
    if lost := [name for name in lost if ".pooler." not in name]:  # which encoders often come without
        raise TrainingError(
            f"The weights of '{settings.model}' are incomplete: {sorted(lost)[0]} is missing.",
            "Fetch or save them again.",
        )
    _begin_with_a_start(tokenizer, model)
    tokenizer.truncation_side, tokenizer.padding_side = "left", "right"
    return _partly_trained(model, settings), tokenizer


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The network with what LoRA has learned laid into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _adapt(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, settings: ClassifierSettings, labels: Sequence[str]
) -> None:
    """Say in the configuration what the head is for, how many layers stay, and what fills texts up."""
    own = config.get_text_config()
    if settings.layers:
        if settings.layers > own.num_hidden_layers:
            raise TrainingError(
                f"'{settings.model}' has {own.num_hidden_layers} layers, not {settings.layers}.", "Lower layers."
            )
        own.num_hidden_layers = settings.layers
        if getattr(own, "layer_types", None):
            own.layer_types = own.layer_types[: settings.layers]
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: place for place, label in enumerate(labels)}
    # Of one label Transformers would learn the number itself; this learns its probability.
    config.problem_type = "multi_label_classification" if len(labels) == 1 else "single_label_classification"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    own.pad_token_id = tokenizer.pad_token_id


def _begin_with_a_start(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Let a causal model's texts begin with its start token where its tokenizer adds none: then an empty text can be
    judged, and the first token is not read without a past."""
    from tokenizers import processors

    start, is_causal = tokenizer.bos_token, hasattr(model, "score")
    if not is_causal or start is None or tokenizer("a").input_ids != tokenizer("a", add_special_tokens=False).input_ids:
        return
    inner = tokenizer.backend_tokenizer
    template = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)])
    before = [inner.post_processor] if inner.post_processor is not None else []
    inner.post_processor = processors.Sequence([*before, template])


def _partly_trained(model: PreTrainedModel, settings: ClassifierSettings) -> PreTrainedModel:
    """The network with only those weights free that are to be trained."""
    if settings.head_only:
        model.base_model.requires_grad_(False)
    if not settings.lora:
        return model
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError:
        raise missing_extra("PEFT") from None
    rank = settings.lora
    chosen = LoraConfig(task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks Transformers by an old name
        return get_peft_model(model, chosen)


def missing_extra(library: str) -> MissingExtraError:
    """What to say when a library of the extra `train` is missing."""
    return MissingExtraError(
        f"Training needs {library}, which is not installed.", "Install it with: pip install 'lmalgebra[train]'"
    )
