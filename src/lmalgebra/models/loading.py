"""From what a user names (a catalogue name, a hub id, a folder, a file) to a `LanguageModel` that is ready.

Transformers takes seconds to import, so it is imported where it is needed: a toy speaks without it.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from lmalgebra.algebra.describe import QUANTIZATIONS
from lmalgebra.errors import ModelError
from lmalgebra.models import catalog
from lmalgebra.models.base import LanguageModel, Session
from lmalgebra.models.engines import REMOTE, choose_engine, is_place, is_toy
from lmalgebra.models.packed_linear import SMALLEST_PASS, pack_linears
from lmalgebra.models.table import TableModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("lmalgebra")

CACHE_SHARE = 0.25
"""Share of the device's memory that the key-value cache may take unless a limit is given."""

_LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)


def load(
    source: str,
    *,
    engine: str = "auto",
    dtype: str = "auto",
    device: str = "auto",
    quantization: str = "none",
    max_cache_tokens: int | None = None,
    report: Callable[[str], None] = lambda sentence: None,
) -> LanguageModel:
    """Load `source`: a catalogue name, a folder, a `.gguf` file, an exact toy (`toy`, `toy:SEED`, a `.json` table) or
    a hub id. `report` gets a sentence for each step that takes time.

    Raises ModelError when there is no such thing, or it is damaged, or it cannot be served exactly.
    """
    engine = choose_engine(source, engine, dtype, device, quantization).name
    if engine == REMOTE:
        raise ModelError(
            f"The remote '{source}' has no weights to load.", "Open it with remote.open_remote(Model(...))."
        )
    if quantization not in QUANTIZATIONS:
        known = " or ".join(map(repr, QUANTIZATIONS))
        raise ModelError(f"There is no quantization '{quantization}'.", f"Use {known}.")
    if is_toy(source):
        _refuse_for_a_toy(source, engine=engine, dtype=dtype, device=device, quantization=quantization)
        return TableModel.from_source(source).language_model(source)
    if engine == "llamacpp":
        _refuse_for_llama_cpp(source, dtype=dtype, quantization=quantization)
        return _load_gguf(source, device, max_cache_tokens, report)
    with _without_collection():
        return _load_pretrained(source, engine, dtype, device, quantization, max_cache_tokens, report)


def _load_pretrained(
    source: str,
    engine: str,
    dtype: str,
    device: str,
    quantization: str,
    max_cache_tokens: int | None,
    report: Callable[[str], None],
) -> LanguageModel:
    place = torch.device(choose_device(device))
    kind = choose_dtype(dtype, place)
    folder = resolve(source, report)
    report(f"Loading {source} ({_numbers(kind, quantization)} on {place.type}) ...")
    with quiet():
        model, tokenizer = load_parts(source, folder, kind, place)
    return language_model_of(model, tokenizer, source, max_cache_tokens, engine, quantization)


def language_model_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    max_cache_tokens: int | None = None,
    engine: str = "auto",
    quantization: str = "none",
    trainable: bool = False,
) -> LanguageModel:
    """What Transformers has loaded, ready to speak; `source` names it. With `trainable`, its layers stay as they are.

    Raises ModelError as `session_of` does.
    """
    from lmalgebra.models.vocabulary import HuggingFaceTokenizer

    ends = _end_tokens(model, tokenizer)
    parameters = sum(p.numel() for p in model.parameters())  # before the session lays them out anew
    session = session_of(model, source, max_cache_tokens, engine, quantization, trainable)
    for note in session.notes:
        log.warning(note)
    numbers = _numbers(model.dtype, quantization)
    summary = f"{model.config.model_type}, {parameters / 1e6:,.0f}M parameters, {numbers} on {model.device.type}"
    return LanguageModel(source, session, HuggingFaceTokenizer(tokenizer, ends, source), summary)


def _numbers(dtype: torch.dtype, quantization: str) -> str:
    return str(dtype)[6:] if quantization == "none" else f"{str(dtype)[6:]}, {quantization}"


def _load_gguf(source: str, device: str, max_cache_tokens: int | None, report: Callable[[str], None]) -> LanguageModel:
    from lmalgebra.models.gguf_tokenizer import GGUFTokenizer
    from lmalgebra.models.llamacpp import GGUFModel, LlamaCppSession, library

    library()  # before anything is fetched
    file = catalog.gguf_path(source, report) if source in catalog.names() else Path(source).expanduser()
    if file.suffix != ".gguf":
        raise ModelError(
            f"The engine 'llamacpp' cannot load '{source}'.", "It reads .gguf files and the catalogue; or use 'torch'."
        )
    _require_file(file, source)
    report(f"Loading {source} (llama.cpp) ...")
    model = GGUFModel(file, device)
    return LanguageModel(source, LlamaCppSession(model, max_cache_tokens), GGUFTokenizer(model), model.summary)


def _refuse_for_a_toy(source: str, **options: str) -> None:
    allowed = {"engine": "auto", "dtype": "float64", "device": "cpu", "quantization": "none"}
    for option, only in allowed.items():
        given = options[option]
        if given not in ("auto", only):
            raise ModelError(f"The toy model '{source}' has no {option} '{given}'.", f"Leave it out, or use '{only}'.")


def _refuse_for_llama_cpp(source: str, **options: str) -> None:
    for option, only in {"dtype": "auto", "quantization": "none"}.items():
        if options[option] != only:
            raise ModelError(
                f"The engine 'llamacpp' has no {option} '{options[option]}' for '{source}'.",
                "Leave it out: the file decides how its weights are computed with.",
            )


def _require_file(path: Path, source: str) -> None:
    if not path.is_file():
        raise ModelError(f"There is no file '{source}'.", "Give the path of a .gguf file.")


def resolve(source: str, report: Callable[[str], None]) -> str:
    """The folder or hub id that Transformers can load; fetches or converts what must be."""
    if source in catalog.names():
        return str(catalog.path(source, report))
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        _require_file(path, source)
        return str(catalog.converted(path, report))
    if path.is_dir():
        if not any(path.glob("*.safetensors")):
            raise ModelError(
                f"The folder '{source}' holds no weights (*.safetensors).",
                "Save the model there with save_pretrained; pickled weights (*.bin) are not loaded.",
            )
        return str(path)
    if is_place(source):
        raise ModelError(f"There is no model at '{source}'.", "Give a folder of weights or a .gguf file.")
    if "/" not in source:
        catalog.entry(source)  # raises, with the names there are
    return source


def choose_device(device: str) -> str:
    """`auto` is a GPU where there is one. Raises ModelError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"The device '{device}' is not available here.", "Use 'auto' or 'cpu'.") from error
    return device


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor computes in it, else float16 on a GPU and float32 on a CPU."""
    if dtype != "auto":
        chosen = getattr(torch, dtype, None)
        if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
            raise ModelError(f"There is no dtype '{dtype}'.", "Use auto, float32, bfloat16, float16 or float64.")
        return chosen
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else torch.float32


def load_parts(
    source: str,
    folder: str,
    dtype: torch.dtype,
    device: torch.device,
    head: str = "AutoModelForCausalLM",
    revision: str = "main",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The network, with the head of that class of Transformers, and the tokenizer; of a hub's `revision` if `folder`
    is a hub id. Raises ModelError."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, revision=revision, trust_remote_code=False)
        model, report = getattr(transformers, head).from_pretrained(
            folder,
            revision=revision,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except _LOAD_ERRORS as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ModelError(
            f"The model '{source}' cannot be loaded: {reason}.",
            "Check the name, the network, and that the files of the weights are whole.",
        ) from error
    missing = sorted(report.get("missing_keys", ()))
    if missing and not any(name.startswith(f"{model.base_model_prefix}.") for name in missing):
        raise ModelError(
            f"'{source}' has no head of the kind that is needed: {missing[0]} is missing.",
            "la.classifier takes classifiers, as `lmalgebra train classifier` makes them; la.model language models.",
        )
    if missing:
        raise ModelError(
            f"The weights of '{source}' are incomplete: {len(missing)} tensors are missing, such as {missing[0]}.",
            "Fetch or save them again.",
        )
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):  # what Transformers makes of no files
        raise ModelError(
            f"'{source}' has no tokenizer: no token of it says anything.",
            "Save the tokenizer there, too, with its save_pretrained.",
        )
    return model.to(device), tokenizer


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    if ends is None:
        ends = tokenizer.eos_token_id
    return frozenset([ends] if isinstance(ends, int) else ends or ())


def session_of(
    model: PreTrainedModel,
    source: str,
    max_cache_tokens: int | None = None,
    engine: str = "auto",
    quantization: str = "none",
    trainable: bool = False,
) -> Session:
    """A session over a model that Transformers has loaded; `source` names it in errors and notes.

    With `trainable` its layers and weights stay as Transformers has them, so that rows follow what is learned in place.
    Raises ModelError for a model that cannot generate text, or that the engine 'native' or a quantization is not for.
    """
    from lmalgebra.models.fused import fuse_layers
    from lmalgebra.models.native import use_kernels
    from lmalgebra.models.quantized import quantize_linears
    from lmalgebra.models.transformers import RecomputeSession, TransformersSession, why_not_served

    config = model.config.get_text_config()
    if model.config.is_encoder_decoder:
        raise ModelError(f"'{source}' is an encoder-decoder, which cannot be served.", "Use a decoder-only model.")
    context = int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 17)
    reason = why_not_served(model, context)
    if reason and engine == "native":
        raise ModelError(f"The engine 'native' cannot compute '{source}': {reason}.", "Use the engine 'torch'.")
    if reason and quantization != "none":
        raise ModelError(f"'{source}' cannot be quantized to '{quantization}': {reason}.", "Leave quantization out.")
    if reason:
        note = f"'{source}' is read anew at every step, which is exact but slow: {reason}."
        return RecomputeSession(model, context, note)
    if trainable:
        return TransformersSession(model, context, max_cache_tokens or _cache_tokens(model))
    if engine == "native":
        use_kernels(model)
    fuse_layers(model)
    if quantization != "none":
        quantize_linears(model)
    gains_by_idle_tokens = pack_linears(model) and quantization == "none"
    smallest = SMALLEST_PASS if gains_by_idle_tokens else 1
    return TransformersSession(model, context, max_cache_tokens or _cache_tokens(model), smallest)


def _cache_tokens(model: PreTrainedModel) -> int:
    """Tokens whose keys and values fit into `CACHE_SHARE` of the device's memory."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    if model.device.type == "cuda":
        memory = torch.cuda.mem_get_info(model.device)[0]
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(CACHE_SHARE * memory / per_token)


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection: what is imported and loaded here stays, and looking through it takes time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' bars and advice off the terminal: what matters is raised or logged by us."""
    import transformers

    verbosity = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
