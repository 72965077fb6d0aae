"""Compiled layers give what `fused` gives, and say where they cannot be; the contract suite has whole models, too."""

from copy import deepcopy

import pytest
import torch
from torch.nn.functional import silu
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

from lmalgebra.errors import ModelError
from lmalgebra.models import native
from lmalgebra.models.attention import LONG
from lmalgebra.models.loading import session_of
from lmalgebra.models.native import NUMBERS, NativeLayer, has_compiler

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

SMALL = {
    "vocab_size": 50,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}


def made(config=None):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config or LlamaConfig(**SMALL)).eval()


@pytest.fixture(autouse=True)
def two_threads():
    """The kernels share their loops out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def kernels(dtype):
    return native._load(native._compiled((*NUMBERS[dtype], "-DSIZE=8", "-DGROUP=3")))


def close(found, expected, dtype):
    tolerance = 3e-6 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@needs_compiler
@pytest.mark.parametrize("dtype", NUMBERS)
def test_the_gate_opens_as_pytorchs_does_for_small_and_extreme_numbers(dtype):
    opened = torch.cat([torch.linspace(-30, 30, 1001), torch.tensor([-1e4, -90, 0, 90, 1e4, float("nan")])]).to(dtype)
    up = torch.full_like(opened, 1.5)
    out, both = torch.empty_like(opened), torch.stack([opened, up])
    kernels(dtype).gate(both.data_ptr(), out.data_ptr(), 1, len(opened))
    torch.testing.assert_close(
        out, silu(opened) * up, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-30, equal_nan=True
    )


@needs_compiler
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize(
    "config", [LlamaConfig(**SMALL), Qwen3Config(**SMALL, head_dim=16)], ids=lambda c: c.model_type
)
def test_rows_of_any_length_get_the_logits_that_torch_gives(dtype, rows, config):
    model = made(config).to(dtype)
    sessions = [session_of(deepcopy(model), "tiny", 1 << 15, engine) for engine in ("torch", "native")]
    assert type(sessions[1].network.model.layers[0]) is NativeLayer
    lengths = [1 + 13 * row % 190 for row in range(rows)]
    found = []
    for session in sessions:
        opened = [session.open() for _ in range(rows)]
        steps = [{row: [7] * length for row, length in zip(opened, lengths, strict=True)}]
        steps += [{row: [3, 9, 4][: 1 + row % 3] for row in opened}, {row: [11] for row in opened}]
        found.append([logits for step in steps for logits in session.extend(step).values()])
    for ours, theirs in zip(*found, strict=True):
        scale = float(theirs.abs().max())
        close(ours / scale, theirs / scale, dtype) if dtype == torch.float32 else _near(ours, theirs)


def _near(ours, theirs):
    assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().max()


@needs_compiler
def test_long_prompts_go_through_pytorchs_attention(monkeypatch):
    session = session_of(made(), "tiny", 1 << 12, "native")
    monkeypatch.setattr(NativeLayer, "_attend", lambda *_: pytest.fail("the kernels are for a few tokens"))
    session.extend({session.open(): [1] * (LONG + 1)})


@needs_compiler
def test_kernels_are_compiled_once_for_each_kind(monkeypatch, tmp_path):
    monkeypatch.setenv("LMALGEBRA_CACHE", str(tmp_path))
    for model in (made(), made(), made().bfloat16()):
        session_of(model, "tiny", engine="native")
    assert len(list((tmp_path / "kernels").glob("*/kernels.so"))) == 2
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("they are there"))
    session_of(made(), "tiny", engine="native")


@needs_compiler
def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "SOURCE", tmp_path / "broken.c")
    native.SOURCE.write_text("#error no such machine\n")
    with pytest.raises(ModelError, match=r"do not compile: .*no such machine.* Use the engine 'torch'\.$"):
        session_of(made(), "tiny", engine="native")


def test_without_a_compiler_the_engine_says_so(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert not has_compiler()
    message = "The engine 'native' needs a C compiler, and there is none. Install gcc, or use the engine 'torch'."
    with pytest.raises(ModelError) as refusal:
        session_of(made(), "tiny", engine="native")
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: made(Gemma3TextConfig(**SMALL, head_dim=8)), "type 'gemma3_text' in float32 on 'cpu'"),
        (lambda: made().double(), "type 'llama' in float64 on 'cpu'"),
        (lambda: made(LlamaConfig(**SMALL, hidden_act="gelu")), "type 'llama' in float32 on 'cpu'"),
    ],
)
def test_models_without_kernels_are_refused(model, named):
    with pytest.raises(ModelError, match=f"^The engine 'native' has no kernels for a model of {named}."):
        session_of(model(), "tiny", engine="native")


def test_a_model_that_must_be_read_anew_is_refused():
    rotary = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(ModelError, match=r"^The engine 'native' cannot compute 'tiny': its rotary positions depend on"):
        session_of(made(LlamaConfig(**SMALL, rope_parameters=rotary)), "tiny", engine="native")
