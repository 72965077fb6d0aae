"""Linear layers in oneDNN's layout give what plain ones give."""

import pytest
import torch
from torch import nn

from lmalgebra.models.packed_linear import PackedLinear, pack_linears

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
DTYPES = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
            reason="this processor does not compute in bfloat16",
        ),
    ),
]


@needs_onednn
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 5), (1, 70), (0,)])
def test_a_packed_layer_gives_what_the_plain_one_gives(dtype, bias, shape):
    torch.manual_seed(0)
    plain = nn.Linear(48, 33, bias=bias).to(dtype)
    inputs = torch.randn(*shape, 48).to(dtype)
    with torch.inference_mode():
        found, expected = PackedLinear(plain)(inputs), plain(inputs)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@needs_onednn
def test_every_plain_linear_layer_is_packed_wherever_it_stands_and_nothing_else():
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 8, bias=False)), nn.Embedding(4, 8))
    inputs = torch.randn(5, 8)
    with torch.inference_mode():
        expected = model[1](model[0](inputs))
        assert pack_linears(model) == 2
        torch.testing.assert_close(model[1](model[0](inputs)), expected)
    assert isinstance(model[0], PackedLinear)
    assert isinstance(model[1][1], PackedLinear)
    assert isinstance(model[2], nn.Embedding)
    assert (model[0].in_features, model[0].out_features) == (8, 8)


@needs_onednn
def test_a_model_is_packed_once():
    model = nn.Sequential(nn.Linear(8, 8))
    assert pack_linears(model) == 1
    layer = model[0]
    assert pack_linears(model) == 1
    assert model[0] is layer


def test_layers_that_would_not_gain_stay_as_they_are():
    model = nn.Sequential(nn.Linear(4, 4).double(), nn.Linear(4, 4).half(), nn.Linear(4, 4, device="meta"))
    assert pack_linears(model) == 0
    assert all(type(layer) is nn.Linear for layer in model)
