"""Layers of four bits give what their rounded weights give, and the rounding is to the nearest."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from lmalgebra.errors import ModelError
from lmalgebra.models.loading import session_of
from lmalgebra.models.packed_linear import PackedLinear
from lmalgebra.models.quantized import FEW_TOKENS, GROUP, QuantizedLinear, quantize, restore

DTYPES = [torch.float32, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def tiny(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2}
    config = LlamaConfig(**sizes | {"num_hidden_layers": 2, "initializer_range": 0.3} | changes)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_is_rounded_by_half_a_step_at_most(dtype):
    torch.manual_seed(0)
    weight = (torch.randn(48, 4 * GROUP) + 0.3).to(dtype)
    numbers, scales, offsets = quantize(weight)
    assert numbers.min() == 0
    assert numbers.max() == 15
    step = scales.float().repeat_interleave(GROUP, dim=1)
    error = (restore(numbers, scales, offsets).float() - weight.float()).abs()
    slack = {torch.float32: 1e-6, torch.bfloat16: 2**-7}[dtype] * weight.float().abs().max()
    assert (error <= 0.5 * step + slack).all()
    assert error.max() > 0.4 * step.min()


def test_weights_that_are_four_bits_already_stay_as_they_are():
    torch.manual_seed(0)
    numbers = torch.randint(0, 16, (32, 2 * GROUP), dtype=torch.int32)
    numbers[:, ::GROUP], numbers[:, 1::GROUP] = 0, 15
    weight = restore(numbers, torch.full((32, 2), 0.25), torch.full((32, 2), -1.0))
    found = quantize(weight)
    assert found[0].equal(numbers)
    assert restore(*found).equal(weight)


def test_a_group_of_equal_weights_is_kept():
    weight = torch.full((16, GROUP), -0.75)
    assert restore(*quantize(weight)).equal(weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, FEW_TOKENS), (1, FEW_TOKENS + 1), (2, 3), (0,), (3, 40)])
def test_a_layer_gives_what_its_rounded_weight_gives(dtype, bias, shape):
    torch.manual_seed(0)
    plain = nn.Linear(96, 48, bias=bias).to(dtype)
    inputs = torch.randn(*shape, 96).to(dtype)
    weight = restore(*quantize(plain.weight.detach()))
    expected = nn.functional.linear(inputs.double(), weight.double(), plain.bias.double() if bias else None)
    with torch.inference_mode():
        found = QuantizedLinear(plain)(inputs)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_inputs_need_not_lie_beside_each_other():
    plain = nn.Linear(64, 32)
    layer, inputs = QuantizedLinear(plain), torch.randn(1, 4, 128)[..., :64]
    with torch.inference_mode():
        torch.testing.assert_close(layer(inputs), plain(inputs), rtol=1e-5, atol=1e-5)


def test_the_output_layer_and_layers_that_do_not_divide_stay():
    model = session_of(tiny(intermediate_size=72), "tiny", quantization="int4").network
    layer = model.model.layers[0]
    assert isinstance(layer.project, QuantizedLinear)
    assert isinstance(layer.merge, QuantizedLinear)
    assert not isinstance(layer.down, QuantizedLinear)
    assert not isinstance(model.lm_head, QuantizedLinear)
    if torch.backends.mkldnn.is_available():
        assert all(isinstance(each, PackedLinear) for each in (layer.project.wide, layer.down, model.lm_head))


@pytest.mark.parametrize("kind", [torch.float64])
def test_what_cannot_be_quantized_is_refused(kind):
    message = "The quantization 'int4' is not for float64 on 'cpu'. It computes in float32, bfloat16 or float16"
    with pytest.raises(ModelError, match=message):
        session_of(tiny().to(kind), "tiny", quantization="int4")


def test_a_model_that_is_read_anew_is_refused():
    rotary = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(
        ModelError, match=r"^'tiny' cannot be quantized to 'int4': its rotary .* Leave quantization out"
    ):
        session_of(tiny(rope_parameters=rotary), "tiny", quantization="int4")
