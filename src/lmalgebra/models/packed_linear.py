"""Linear layers whose weights are laid out once the way oneDNN reads them fastest (PyTorch on a CPU).

PyTorch lays a weight out anew in every product; with a few rows, as in decoding, that costs more than the product.
The results are those of `nn.Linear` up to the order of summation. `benchmarks/compose.py` measures the gain.
"""

from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_PASS = 4
"""Rows that the layout is chosen for. Other numbers work too, but oneDNN is slower with fewer, most of all with 2."""


class PackedLinear(nn.Module):
    """`nn.Linear` for inference, `[..., inputs]` to `[..., outputs]`, with its weight in oneDNN's layout."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), SMALLEST_PASS)

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.requires_grad and torch.is_grad_enabled():
            found: Tensor = _Product.apply(inputs, self._weight, self.bias)
            return found
        return _product(inputs, self._weight, self.bias)


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


class _Product(torch.autograd.Function):
    """The product with a gradient into its inputs: PyTorch knows none. The weight is laid out plainly for it, and
    forgotten again, so that it is there once."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ ctx.weight.to_dense(), None, None


def pack_linears(model: nn.Module) -> int:
    """Replace every plain linear layer of `model` by a packed one; returns how many are packed now.

    Does nothing where it cannot help: not on a CPU, without oneDNN, or in another dtype than float32 and bfloat16.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    packed = sum(isinstance(module, PackedLinear) for module in model.modules())
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and _packable(child.weight):
                setattr(parent, name, PackedLinear(child))
                packed += 1
    return packed


def _packable(weight: Tensor) -> bool:
    if weight.device.type != "cpu":
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
