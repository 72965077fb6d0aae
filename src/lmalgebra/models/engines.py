"""Which engine computes a model, and why. Nothing heavy is imported to say so, unless there is a choice."""

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from lmalgebra.algebra.remote import is_remote
from lmalgebra.errors import ModelError
from lmalgebra.models import catalog

ENGINES = ("auto", "torch", "native", "llamacpp")
REMOTE = "remote"
"""What computes where nothing is computed here."""


@dataclass(frozen=True)
class Engine:
    """An engine's name and, where it was not asked for by name, the reason for it."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def is_toy(source: str) -> bool:
    """Whether `source` names an exact toy: `toy`, `toy:SEED` or a `.json` table."""
    return source == "toy" or source.startswith("toy:") or source.endswith(".json")


def is_place(source: str) -> bool:
    """Whether `source` can only be a path: it is there, or is written as no hub id is."""
    return Path(source).expanduser().exists() or source.startswith((".", "/", "~")) or source.count("/") > 1


def is_gguf(source: str) -> bool:
    """Whether there is a `.gguf` file for `source`."""
    return source.endswith(".gguf") or source in catalog.names()


def choose_engine(
    source: str, engine: str = "auto", dtype: str = "auto", device: str = "auto", quantization: str = "none"
) -> Engine:
    """What computes `source`: the server of a remote; llama.cpp for a `.gguf` file on a CPU, where it is installed and
    leaves nothing open that is asked for; else PyTorch. Raises ModelError for an engine that there is not."""
    if engine not in ENGINES:
        raise ModelError(f"There is no engine '{engine}'.", "Use 'auto', 'torch', 'native' or 'llamacpp'.")
    if is_remote(source):
        return Engine(REMOTE, "the server at this address")
    if engine != "auto" or is_toy(source):
        return Engine(engine)
    if not is_gguf(source):
        return Engine("torch", "it is no .gguf file")
    given = {"dtype": (dtype, "auto"), "quantization": (quantization, "none")}
    for option, (chosen, default) in given.items():
        if chosen != default:
            return Engine("torch", f"{option} is given")
    if find_spec("llama_cpp") is None:
        return Engine("torch", "llama-cpp-python is not installed")
    if device not in ("auto", "cpu") or (device == "auto" and _has_gpu()):
        return Engine("torch", "there is a GPU")
    return Engine("llamacpp", "a .gguf file on a CPU")


def _has_gpu() -> bool:
    if version("torch").endswith("+cpu"):  # which spares importing it
        return False
    import torch

    return torch.cuda.is_available()
