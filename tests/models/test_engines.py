"""Which engine is chosen, and what is said of it."""

from pathlib import Path

import pytest

from lmalgebra.errors import ModelError
from lmalgebra.models import engines
from lmalgebra.models.engines import choose_engine, is_place


@pytest.fixture(params=[True, False])
def installed(request, monkeypatch) -> bool:
    """Whether llama-cpp-python seems to be installed."""
    monkeypatch.setattr(engines, "find_spec", lambda name: object() if request.param else None)
    monkeypatch.setattr(engines, "_has_gpu", lambda: False)
    return request.param


@pytest.mark.parametrize("source", ["model.gguf", "~/some/model.gguf", "smollm2-135m"])
def test_gguf_files_run_on_llama_cpp_where_it_is_installed(source, installed):
    expected = "llamacpp (a .gguf file on a CPU)" if installed else "torch (llama-cpp-python is not installed)"
    assert str(choose_engine(source)) == str(choose_engine(source, device="cpu")) == expected


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("source", ["someone/model", "a/folder", "."])
def test_other_weights_run_on_pytorch(source):
    assert str(choose_engine(source)) == "torch (it is no .gguf file)"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": "float32"}, "dtype is given"),
        ({"quantization": "int4"}, "quantization is given"),
    ],
)
def test_what_llama_cpp_cannot_do_runs_on_pytorch(options, reason):
    assert str(choose_engine("model.gguf", **options)) == f"torch ({reason})"


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_gpu_runs_on_pytorch(device, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    monkeypatch.setattr(engines, "_has_gpu", lambda: True)
    assert str(choose_engine("model.gguf", device=device)) == "torch (there is a GPU)"
    assert choose_engine("model.gguf", device="cpu").name == "llamacpp"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", ["torch", "native", "llamacpp"])
def test_an_engine_that_is_asked_for_needs_no_reason(engine):
    assert str(choose_engine("model.gguf", engine)) == engine


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("source", ["toy", "toy:3", "table.json"])
def test_a_toy_has_no_engine(source):
    assert str(choose_engine(source)) == "auto"


def test_an_engine_that_there_is_not():
    with pytest.raises(
        ModelError, match=r"^There is no engine 'steam'. Use 'auto', 'torch', 'native' or 'llamacpp'\.$"
    ):
        choose_engine("toy", "steam")


@pytest.mark.parametrize("source", ["./x", "../x", "/x/y", "~/x", "a/b/c", str(Path(__file__).parent)])
def test_sources_that_can_only_be_paths(source):
    assert is_place(source)


@pytest.mark.parametrize("source", ["someone/something", "smollm2-135m", "toy:3", "x.gguf"])
def test_sources_that_may_be_something_else(source):
    assert not is_place(source)
