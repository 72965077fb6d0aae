"""The decoder layers of Llama and its kin with few operations, for passes of a few tokens.

In such a pass, an operation costs more in being called than in what it computes. So the projections that read the
same input are one, queries and keys are turned together, and what lies between the products is as few calls as
PyTorch allows. The results are those of Transformers' own layers up to rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers import PreTrainedModel

from lmalgebra.models.attention import Layout, attend_packed

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose layers are written like Llama's; the contract suite compares each with Transformers."""


class Positions(nn.Module):
    """A model's rotary positions as `FusedLayer` wants them: `[tokens, 1, size]`, and the sines of a head's first half
    negative, so that turning needs no other sign."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        cosines, sines = (each[0, :, None] for each in self.rotary(hidden, position_ids=position_ids))
        half = sines.shape[-1] // 2
        return cosines, torch.cat([-sines[..., :half], sines[..., half:]], dim=-1)


class FusedLayer(nn.Module):
    """A decoder layer over packed tokens, `[1, tokens, hidden]` to the same; `rows` is as in `attention.attend`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.index, self.size, self.scaling = attention.layer_idx, attention.head_dim, attention.scaling
        self.window = _window(attention)
        self.first_norm, self.second_norm = Norm(layer.input_layernorm), Norm(layer.post_attention_layernorm)
        self.head_norms = [Norm(attention.q_norm), Norm(attention.k_norm)] if hasattr(attention, "q_norm") else []
        heads = [part.out_features // self.size for part in (attention.q_proj, attention.k_proj)]
        self.heads, self.turned = heads, sum(heads)
        self.project = joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self.merge = attention.o_proj
        self.gate_up = joined(mlp.gate_proj, mlp.up_proj)
        self.activation, self.down = mlp.act_fn, mlp.down_proj

    def forward(
        self, hidden: Tensor, rows: Layout, position_embeddings: tuple[Tensor, Tensor], **others: object
    ) -> Tensor:
        hidden = hidden + self._attention(self.first_norm(hidden), rows, *position_embeddings)
        gate, up = self.gate_up(self.second_norm(hidden)).chunk(2, dim=-1)
        return hidden.add_(self.down(self.activation(gate).mul_(up)))

    def parts(self) -> dict[str, tuple[nn.Module, int, int]]:
        """Where each linear layer of Transformers' own layer is computed: the module, and its first and last output."""
        queries, keys = (count * self.size for count in self.heads)
        gate, width = self.gate_up.out_features // 2, self.project.out_features
        return {
            "self_attn.q_proj": (self.project, 0, queries),
            "self_attn.k_proj": (self.project, queries, queries + keys),
            "self_attn.v_proj": (self.project, queries + keys, width),
            "self_attn.o_proj": (self.merge, 0, self.merge.out_features),
            "mlp.gate_proj": (self.gate_up, 0, gate),
            "mlp.up_proj": (self.gate_up, gate, 2 * gate),
            "mlp.down_proj": (self.down, 0, self.down.out_features),
        }

    def _attention(self, hidden: Tensor, rows: Layout, cosines: Tensor, sines: Tensor) -> Tensor:
        tokens = hidden.shape[1]
        projected = self.project(hidden).view(tokens, -1, self.size)
        turned, values = projected[:, : self.turned], projected[:, self.turned :]
        if self.head_norms:
            turned = self.normed_heads(turned)
        turned = torch.addcmul(turned * cosines, turned.roll(self.size // 2, dims=-1), sines)
        queries, keys = turned.split(self.heads, dim=1)
        out = attend_packed(self.index, queries, keys, values, rows, self.scaling, self.window)
        return self.merge(out.reshape(1, tokens, -1))

    def normed_heads(self, turned: Tensor) -> Tensor:
        """Queries and keys, `[tokens, heads, size]`, each through its norm."""
        parts = zip(self.head_norms, turned.split(self.heads, dim=1), strict=True)
        return torch.cat([norm(part) for norm, part in parts], dim=1)


def fuse_layers(model: PreTrainedModel, fused: Callable[[nn.Module], nn.Module] = FusedLayer) -> None:
    """Replace the layers of a model of `FAMILIES`, if not done yet; any other stays as it is.

    Afterwards the model needs `rows` in each pass.
    """
    trunk = model.base_model
    if model.config.model_type not in FAMILIES or isinstance(trunk.rotary_emb, Positions):
        return
    for number, layer in enumerate(trunk.layers):
        trunk.layers[number] = fused(layer)  # one by one, so that few weights are there twice
    trunk.rotary_emb = Positions(trunk.rotary_emb)
    trunk.norm = Norm(trunk.norm)


def joined(*linears: nn.Linear) -> nn.Linear:
    """One layer that gives the outputs of several side by side."""
    first = linears[0]
    one = nn.Linear(first.in_features, sum(part.out_features for part in linears), device="meta")
    one.weight = nn.Parameter(torch.cat([part.weight.detach() for part in linears]), requires_grad=False)
    biases = [part.bias for part in linears]
    one.bias = None if biases[0] is None else nn.Parameter(torch.cat([b.detach() for b in biases]), requires_grad=False)
    return one


class Norm(nn.Module):
    """The RMS norm of `norm`, `[..., size]`.

    PyTorch's own takes nine kernels on a CPU and its layer norm one, which is the same for vectors whose mean is 0:
    here, for each vector with its negative beside it.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.size, self.epsilon = norm.weight.numel(), norm.variance_epsilon
        self.twice = norm.weight.detach().repeat(2)

    def forward(self, inputs: Tensor) -> Tensor:
        balanced = torch.cat([inputs, -inputs], dim=-1)
        return layer_norm(balanced, (2 * self.size,), self.twice, None, self.epsilon)[..., : self.size]


def _window(attention: nn.Module) -> int | None:
    """The sliding window of a layer. Mistral's stands in its configuration, the same for all layers."""
    if attention.config.model_type == "mistral":
        return attention.config.sliding_window
    return getattr(attention, "sliding_window", None)
