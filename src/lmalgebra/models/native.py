"""Layers of Llama and its kin on a CPU, with what lies between their matrix products compiled from `kernels.c`.

PyTorch runs some forty kernels between the products of a layer, each called through Python; here they are six calls.
The source is compiled once for each machine, kind of number and shape of heads, in about a second, and the result is
kept in the user's cache folder. The results are those of `fused` up to rounding; sums are taken in float32.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from ctypes import c_float, c_long, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lmalgebra.errors import ModelError
from lmalgebra.models.attention import Layout
from lmalgebra.models.fused import FAMILIES, FusedLayer, fuse_layers
from lmalgebra.models.store import cache_folder, publish

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
LOOSE = ("-fno-math-errno", "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros", "-freciprocal-math")
"""What of -ffast-math lets sums be vectors; the rest would change infinities, and the mode of the whole process."""

NUMBERS = {torch.float32: (), torch.bfloat16: ("-DBFLOAT16",)}
"""The kinds of numbers there are kernels for, and how the compiler is told."""

_POINTER, _COUNT = c_void_p, c_long
_ARGUMENTS = {
    "add_norm": (*[_POINTER] * 4, *[_COUNT] * 2, c_float),
    "gate": (*[_POINTER] * 2, *[_COUNT] * 2),
    "turn": (*[_POINTER] * 7, *[_COUNT] * 3),
    "attend": (*[_POINTER] * 6, *[_COUNT] * 4, c_float),
}


class NativeLayer(FusedLayer):
    """A `FusedLayer` that goes through compiled kernels in passes of a few tokens for each row."""

    def __init__(self, layer: nn.Module, kernels: ctypes.CDLL) -> None:
        super().__init__(layer)
        self.kernels = kernels
        self.queries, self.shared = self.heads
        self.norms = [
            (norm.weight.detach().contiguous(), norm.variance_epsilon)
            for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        ]

    def forward(
        self, hidden: Tensor, rows: Layout, position_embeddings: tuple[Tensor, Tensor], **others: object
    ) -> Tensor:
        if not rows.short:
            return super().forward(hidden, rows, position_embeddings, **others)
        projected = self.project(self._norm(0, hidden))
        attended = self._attend(projected, rows, *position_embeddings)
        update = self.merge(attended)
        both = self.gate_up(self._norm(1, hidden, update))
        tokens, size = both.shape[1], both.shape[2] // 2
        gated = both.new_empty(1, tokens, size)
        self.kernels.gate(both.data_ptr(), gated.data_ptr(), tokens, size)
        return hidden.add_(self.down(gated))

    def _norm(self, which: int, hidden: Tensor, update: Tensor | None = None) -> Tensor:
        """The norm of `hidden`, to which `update` is added first."""
        weight, epsilon = self.norms[which]
        out, added = torch.empty_like(hidden), None if update is None else update.data_ptr()
        _, tokens, size = hidden.shape
        self.kernels.add_norm(hidden.data_ptr(), added, weight.data_ptr(), out.data_ptr(), tokens, size, epsilon)
        return out

    def _attend(self, projected: Tensor, rows: Layout, cosines: Tensor, sines: Tensor) -> Tensor:
        rows.windows[self.index] = self.window
        _, tokens, width = projected.shape
        by_head = projected.view(tokens, -1, self.size)
        if self.head_norms:
            by_head[:, : self.turned] = self.normed_heads(by_head[:, : self.turned])
        new = by_head[:, : self.shared]  # of the shape and kind that the cache is for
        out = projected.new_zeros(1, tokens, self.queries * self.size)
        bytes_of = projected.itemsize
        for write in rows.writes:
            keys, values = (each.data_ptr() for each in write.slab.layer(self.index, new, new))
            mine, turn = projected.data_ptr() + write.first * width * bytes_of, write.first * self.size * bytes_of
            result = out.data_ptr() + write.first * self.queries * self.size * bytes_of
            where = (write.slots.data_ptr(), write.positions.data_ptr(), write.last - write.first)
            heads = (self.shared, write.slab.capacity)
            self.kernels.turn(mine, cosines.data_ptr() + turn, sines.data_ptr() + turn, keys, values, *where, *heads)
            self.kernels.attend(mine, keys, values, result, *where, *heads, self.window or 0, self.scaling)
        return out


def use_kernels(model: PreTrainedModel) -> None:
    """Replace the layers of `model`. Raises ModelError where there is no compiler, or no kernels for the model."""
    family, kind, place = model.config.model_type, str(model.dtype)[6:], model.device.type
    served = family in FAMILIES and model.config.hidden_act == "silu"
    if not served or model.dtype not in NUMBERS or place != "cpu":
        raise ModelError(
            f"The engine 'native' has no kernels for a model of type '{family}' in {kind} on '{place}'.",
            f"It computes {', '.join(sorted(FAMILIES))} with silu in float32 and bfloat16 on 'cpu'; or use 'torch'.",
        )
    attention = model.base_model.layers[0].self_attn
    heads = (f"-DSIZE={attention.head_dim}", f"-DGROUP={attention.num_key_value_groups}")
    kernels = _load(_compiled((*NUMBERS[model.dtype], *heads)))
    fuse_layers(model, lambda layer: NativeLayer(layer, kernels))


def has_compiler() -> bool:
    """Whether there is what the kernels are compiled with: the C compiler that CC names, or `cc`."""
    return _compiler() is not None


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc"))


def _compiled(defined: tuple[str, ...]) -> Path:
    """The kernels compiled with so much defined, made if they are not there yet."""
    compiler = _compiler()
    if compiler is None:
        raise ModelError(
            "The engine 'native' needs a C compiler, and there is none.", "Install gcc, or use the engine 'torch'."
        )
    command = [compiler, *FLAGS, *LOOSE, *defined]
    known = [SOURCE.read_text(), *command, str(sorted(torch.cpu.get_capabilities().items()))]
    folder = cache_folder() / "kernels" / hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
    if not folder.is_dir():
        publish(folder, lambda draft: _compile(command, draft))
    return folder / "kernels.so"


def _compile(command: list[str], folder: Path) -> None:
    command = [*command, str(SOURCE), "-o", str(folder / "kernels.so"), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())[:300]
        raise ModelError(f"The kernels of the engine 'native' do not compile: {reason}", "Use the engine 'torch'.")


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, arguments in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library
