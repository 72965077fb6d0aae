"""A .gguf file to what Transformers loads fast: safetensors in float32, which hold the dequantised weights exactly.

Differs from Transformers' own reading of the file in three ways: it refuses a file of which Transformers would make
another model, it ends a text at the end-of-turn token too, and it splits digits where the file's tokenizer does.
"""

import contextlib
import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmalgebra.errors import ModelError
from lmalgebra.models import store

# Byte-level tokenizers that cut numbers into single digits; Transformers 5.23 knows no split for these names.
SINGLE_DIGIT_SPLITS = frozenset({"smollm", "starcoder", "refact", "command-r"})
ORIGINAL_HINT = "Give the folder of the original safetensors instead."


def converted(gguf: Path, report: store.Report = store.silent) -> Path:
    """The folder of the safetensors made from the user's file `gguf`, converted on first use.

    The cache key is the file's size, its modification time and the SHA-256 of its first megabyte.
    Raises ModelError where `gguf` is missing or cannot be converted, or the cache cannot be written.
    """
    folder = store.cache_folder() / "converted" / f"{gguf.stem}-{_conversion_key(gguf)}"
    if store.recorded(folder) is not None and not store.damage_in(folder):
        return folder
    report(f"Converting {gguf.name} (once) ...")
    megabytes = 7 * gguf.stat().st_size // store.MEGABYTE  # 4.5 bits a weight become 32
    return store.publish(folder, lambda draft: convert_gguf(gguf, draft), replace=folder.exists(), megabytes=megabytes)


def convert_gguf(gguf: Path, folder: Path, report: store.Report = store.silent) -> None:
    """Write the weights of `gguf` into `folder` as float32 safetensors with tokenizer, chat template and record.

    Raises ModelError where the file is truncated, is no GGUF, or has an architecture Transformers cannot read.
    """
    report(f"Reading {gguf.name} ...")
    facts = _gguf_facts(gguf)
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = _load_gguf(gguf, folder, facts)
    model.hf_quantizer = None  # else save_pretrained refuses, though the weights are plain float32 by now
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    report(f"Writing {folder.name} ...")
    with _quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    store.record(folder)


def _conversion_key(gguf: Path) -> str:
    try:
        facts = gguf.stat()
        with gguf.open("rb") as stream:
            first = hashlib.sha256(stream.read(1 << 20)).hexdigest()
    except OSError as error:
        raise ModelError(f"The file {gguf} cannot be read ({error.strerror}).", "Check the path.") from error
    return hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns} {first}".encode()).hexdigest()[:12]


def _gguf_facts(gguf: Path) -> dict[str, Any]:
    """The scalar metadata of `gguf`. Raises ModelError where it is cut short or no GGUF file."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
        facts = {key: field.contents() for key, field in reader.fields.items() if len(field.data) == 1}
    except Exception as error:  # the reader raises whatever its arithmetic on wrong bytes runs into
        message = f"The file {gguf} is cut short, or is no GGUF file."
        raise ModelError(message, "Download it again and compare its size.") from error
    if not isinstance(facts.get("general.architecture"), str):
        raise ModelError(f"The file {gguf} names no architecture.", "Convert it with a current llama.cpp.")
    if any(tensor.name.startswith("rope_") for tensor in reader.tensors):
        message = f"The file {gguf} scales its rotary positions, which Transformers ignores in a .gguf."
        raise ModelError(message, ORIGINAL_HINT)
    return facts


def _load_gguf(gguf: Path, folder: Path, facts: dict[str, Any]) -> tuple[Any, Any]:
    """The model (float32) and the tokenizer in `gguf`; uses `folder` as a place where the file lies alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    with _quiet_transformers(), _alone(gguf, folder) as source:
        where = {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
        exact = {"dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True)}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **exact, **where)
        except Exception as error:  # Transformers raises many kinds here
            raise _unreadable(gguf, facts, error) from error
    if loading["missing_keys"]:  # Transformers would fill these with random numbers
        raise ModelError(f"The file {gguf} lacks the weights {', '.join(sorted(loading['missing_keys'])[:3])}.")
    _split_digits(tokenizer, facts)
    endings = {facts[key] for key in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id") if key in facts}
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(endings) if len(endings) > 1 else next(iter(endings), None),
        pad_token_id=tokenizer.pad_token_id,
    )
    return model, tokenizer


def _unreadable(gguf: Path, facts: dict[str, Any], error: Exception) -> ModelError:
    architecture = facts["general.architecture"]
    if "not supported" in str(error) or "Unrecognized model" in str(error):
        message = f"The file {gguf} has the architecture {architecture!r}, which Transformers cannot read from a .gguf."
        return ModelError(message, ORIGINAL_HINT)
    reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return ModelError(f"The file {gguf} ({architecture}) cannot be converted: {reason}.")


@contextlib.contextmanager
def _alone(gguf: Path, folder: Path) -> Iterator[Path]:
    """`gguf` as a file of `folder`, so that a config or tokenizer lying beside the original is not mixed in."""
    if gguf.parent == folder:
        yield gguf
        return
    link = folder / "source.gguf"
    try:
        link.symlink_to(gguf.absolute())
    except OSError:  # Windows without the right to make links
        shutil.copyfile(gguf, link)
    try:
        yield link
    finally:
        link.unlink()


def _split_digits(tokenizer: Any, facts: dict[str, Any]) -> None:
    """Cut numbers as the model's own tokenizer did in training, where Transformers leaves that out."""
    if facts.get("tokenizer.ggml.pre") not in SINGLE_DIGIT_SPLITS:
        return
    from tokenizers import pre_tokenizers

    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without progress bars and advisories: a caller's `report` says what happens."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        # One bar is tqdm's own and heeds no switch of Transformers; it writes to standard error.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
