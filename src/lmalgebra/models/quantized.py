"""Linear layers with weights of four bits, in groups of 32 inputs with a scale and an offset each (PyTorch on a CPU).

In a pass of a few tokens, time goes into reading weights, of which there are a quarter of bfloat16's here. A wider pass
computes more than it reads, and takes the same weights put back into their dtype, so they are in memory twice: this is
for speed. Numbers are rounded to the nearest of the sixteen (no calibration); the output layer stays as it is.
`benchmarks/quantized.py` measures the gain and the loss.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lmalgebra.errors import ModelError

GROUP = 32
"""Inputs of one output that share a scale and an offset."""

FEW_TOKENS = 8
"""Passes of more tokens are faster with the weights in their own dtype."""

_OUTPUTS = 16
"""PyTorch packs so many outputs together."""


class QuantizedLinear(nn.Module):
    """`nn.Linear` for inference, `[..., inputs]` to `[..., outputs]`; `wide` is the same in its own dtype."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        numbers, scales, offsets = quantize(linear.weight.detach())
        self._numbers = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
        self._scales = torch.stack([scales, offsets], dim=-1).transpose(0, 1).contiguous()
        self.wide = linear
        linear.weight = nn.Parameter(restore(numbers, scales, offsets), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = inputs.reshape(-1, self.in_features)
        if len(tokens) > FEW_TOKENS or inputs.requires_grad:
            return self.wide(inputs)
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(tokens.contiguous(), self._numbers, GROUP, self._scales)
        return (product if self.bias is None else product + self.bias).view(*inputs.shape[:-1], self.out_features)


def quantize(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a weight `[outputs, inputs]`: numbers of 0 to 15, and the scale and offset `[outputs, groups]` of each group.

    A group's least number is 0 and its greatest 15, up to the rounding of scale and offset to the weight's dtype.
    """
    groups = weight.float().unflatten(1, (-1, GROUP))
    low, high = groups.aminmax(dim=-1)
    scales = ((high - low) / 15).to(weight.dtype)
    scales = torch.where(scales > 0, scales, 1)
    offsets = (low + 8 * scales.float()).to(weight.dtype)
    numbers = (groups - offsets.float()[..., None]) / scales.float()[..., None]
    return (numbers.round_() + 8).clamp_(0, 15).to(torch.int32).flatten(1), scales, offsets


def restore(numbers: Tensor, scales: Tensor, offsets: Tensor) -> Tensor:
    """The weight that `quantize` has rounded: (number - 8) * scale + offset."""
    centred = (numbers - 8).unflatten(1, (-1, GROUP))
    return (centred * scales.float()[..., None] + offsets.float()[..., None]).flatten(1).to(scales.dtype)


def quantize_linears(model: PreTrainedModel) -> None:
    """Replace the linear layers of `model`, save its output layer and those whose sizes do not divide into groups.

    Raises ModelError where there is no such product.
    """
    if model.device.type != "cpu" or model.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ModelError(
            f"The quantization 'int4' is not for {str(model.dtype)[6:]} on '{model.device.type}'.",
            "It computes in float32, bfloat16 or float16 on 'cpu'; or leave it out.",
        )
    kept = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not kept and _divides(child):
                setattr(parent, name, QuantizedLinear(child))


def _divides(linear: nn.Linear) -> bool:
    return linear.in_features % GROUP == 0 and linear.out_features % _OUTPUTS == 0
