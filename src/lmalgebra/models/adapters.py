"""LoRA adapters over a model whose rows share every pass, each row under its own adapters or under none.

The model's weights are there once and stay as they are. When a linear layer has computed the outputs of all tokens of a
pass, a hook adds what each adapter changes of its own tokens' outputs: two thin matrix products. Where layers were
joined to one (see `fused`), so are their changes: each has a part of the rank to itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lmalgebra.algebra.adapter import Adapter, AdapterSum, summands
from lmalgebra.models.fused import FusedLayer
from lmalgebra.models.packed_linear import PackedLinear
from lmalgebra.models.peft_folder import LowRank, read_adapter, refused
from lmalgebra.models.quantized import QuantizedLinear


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer of Transformers': the outputs `first` to `last` of a module that has `width` of them."""

    module: nn.Module
    inputs: int
    first: int
    last: int
    width: int


Products = Mapping[nn.Module, tuple[Tensor, Tensor]]
"""For each module that an adapter changes, what inputs are multiplied with: `[inputs, rank]` and `[rank, outputs]`."""


@dataclass(frozen=True)
class Share:
    """The tokens of a pass that an adapter changes, and its weight there."""

    products: Products
    weight: float
    tokens: slice | Tensor


class Adapters:
    """The adapters that are loaded for a model, and which tokens of its next pass are under which."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._places: dict[str, Products] = {}
        self._shares: list[Share] = []
        self._change = _Change(self._shares)
        self._hooked: set[nn.Module] = set()
        self._loading = Lock()  # several threads may ask at once, and another may compute meanwhile

    def load(self, adapter: Adapter) -> None:
        """Read what is not loaded yet of a sum of adapters; it stays until it is forgotten.

        Raises ModelError for an adapter that cannot be read or does not fit the model, of which then nothing is kept.
        """
        for place, _ in summands(adapter):
            if place not in self._places:  # what is there waits for no other thread
                with self._loading:
                    if place not in self._places:
                        self._places[place] = self.products(place, read_adapter(place))

    def renew(self, place: str, changes: Mapping[str, LowRank]) -> None:
        """Take `changes`, by the names of layers, for the adapter `place`, instead of what it was. Raises ModelError.

        They are kept without gradient.
        """
        with self._loading, torch.no_grad():
            self._places[place] = self.products(place, changes)

    def forget(self, place: str) -> None:
        """Let go of what is loaded of `place`, which may be nothing."""
        self._places.pop(place, None)

    @contextmanager
    def over(self, rows: Iterable[tuple[AdapterSum, int]]) -> Iterator[None]:
        """Within it the model's pass is over these rows: the adapters of each, and how many packed tokens it has."""
        with self.under(self._shared(rows) if self._places else ()):
            yield

    @contextmanager
    def under(self, shares: Iterable[Share]) -> Iterator[None]:
        """Within it the model's pass is changed by these shares."""
        before = tuple(self._shares)
        self._shares[:] = shares
        try:
            yield
        finally:
            self._shares[:] = before

    def products(self, place: str, changes: Mapping[str, LowRank]) -> Products:
        """What `changes`, by the names of layers, are multiplied with; with gradient, where they have one.

        Raises ModelError where they do not fit the model; `place` names them.
        """
        known = linear_layers(self._model)
        joined: dict[nn.Module, list[tuple[LinearLayer, LowRank]]] = {}
        for name, change in changes.items():
            layer = self._fitting(place, name, known.get(name), change)
            joined.setdefault(layer.module, []).append((layer, change))
        for module in joined.keys() - self._hooked:
            module.register_forward_hook(self._change)
            self._hooked.add(module)
        return {module: self._multiplied(parts) for module, parts in joined.items()}

    def _shared(self, rows: Iterable[tuple[AdapterSum, int]]) -> list[Share]:
        spans: dict[tuple[str, float], list[range]] = {}
        first = 0
        for adapters, count in rows:
            for part in adapters:
                spans.setdefault(part, []).append(range(first, first + count))
            first += count
        return [Share(self._places[place], weight, self._index(mine)) for (place, weight), mine in spans.items()]

    def _index(self, spans: Sequence[range]) -> slice | Tensor:
        first, last = spans[0].start, spans[-1].stop
        if sum(map(len, spans)) == last - first:
            return slice(first, last)
        return torch.tensor([token for span in spans for token in span], device=self._model.device)

    def _fitting(self, place: str, name: str, layer: LinearLayer | None, change: LowRank) -> LinearLayer:
        """`layer`, if the adapter can change it. Raises ModelError."""
        hint = "Use it with the model that it was trained for."
        if layer is None:
            raise refused(place, f"it changes '{name}', and this model has no such linear layer", hint)
        if layer.module is self._model.get_output_embeddings():
            raise refused(place, f"it changes the output layer '{name}'", "Train it without that layer.")
        theirs = change.down.shape[1], change.up.shape[0]
        ours = layer.inputs, layer.last - layer.first
        if theirs != ours:
            sizes = f"{theirs[0]:,} inputs and {theirs[1]:,} outputs, and this model's has {ours[0]:,} and {ours[1]:,}"
            raise refused(place, f"it is for a '{name}' of {sizes}", hint)
        return layer

    def _multiplied(self, parts: Sequence[tuple[LinearLayer, LowRank]]) -> tuple[Tensor, Tensor]:
        """What inputs are multiplied with, `[inputs, rank]` and `[rank, width]`, for parts of a module's outputs."""
        down = torch.cat([change.down for _, change in parts])
        up = torch.zeros(len(down), parts[0][0].width, dtype=torch.float64)
        first = 0
        for layer, change in parts:
            last = first + len(change.down)
            up[first:last, layer.first : layer.last] = change.scale * change.up.T.double()
            first = last
        kind, device = self._kind(), self._model.device
        return down.T.to(device, kind).contiguous(), up.to(device, kind)

    def _kind(self) -> torch.dtype:
        """What the products are computed in: on a CPU, oneDNN takes five times as long for few tokens in half precision
        as PyTorch does in float32."""
        kind = self._model.dtype
        return torch.promote_types(kind, torch.float32) if self._model.device.type == "cpu" else kind


class _Change:
    """What adapters change of a module's outputs: a hook that adds it in place, for the tokens of `shares`."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self._shares = shares

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...], outputs: Tensor) -> Tensor | None:
        shares = [share for share in self._shares if module in share.products]
        if not shares:
            return None
        if torch.is_grad_enabled():
            outputs = outputs.clone()  # autograd lets not every output be changed in place
        for share in shares:
            down, up = share.products[module]
            inputs, results = given[0].reshape(-1, len(down)), outputs.view(-1, up.shape[1])
            change = inputs[share.tokens].to(down.dtype) @ down @ up
            if isinstance(share.tokens, slice):
                results[share.tokens].add_(change, alpha=share.weight)
            else:
                results.index_add_(0, share.tokens, change.to(results.dtype), alpha=share.weight)
        return outputs


def linear_layers(model: PreTrainedModel) -> dict[str, LinearLayer]:
    """The linear layers of a model by Transformers' names for them, also where several are computed as one."""
    found: dict[str, LinearLayer] = {}
    parts_of_others: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in parts_of_others:
            continue
        if isinstance(module, FusedLayer | QuantizedLinear):
            parts_of_others.update(module.modules())
        if isinstance(module, FusedLayer):
            for part, (one, first, last) in module.parts().items():
                found[f"{name}.{part}"] = LinearLayer(one, one.in_features, first, last, one.out_features)
        elif isinstance(module, nn.Linear | PackedLinear | QuantizedLinear):
            found[name] = LinearLayer(module, module.in_features, 0, module.out_features, module.out_features)
        elif isinstance(module, Conv1D):
            found[name] = LinearLayer(module, module.nx, 0, module.nf, module.nf)
    return found
