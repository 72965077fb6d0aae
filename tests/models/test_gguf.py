"""A user's .gguf file to safetensors: a real conversion of a tiny random Llama, and every file that is refused."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmalgebra.errors import ModelError
from lmalgebra.models import catalog, gguf
from tiny_gguf import tiny_tensors, write_tiny_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMALGEBRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def test_the_converted_weights_are_the_files_own(tiny):
    folder = catalog.converted(tiny)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs, ours = tiny_tensors(), model.state_dict()
    for name, found in {"token_embd": "embed_tokens", "blk.1.ffn_down": "layers.1.mlp.down_proj"}.items():
        assert torch.equal(ours[f"model.{found}.weight"], torch.from_numpy(theirs[f"{name}.weight"]))
    assert model.generation_config.eos_token_id == [0, 2]
    assert not hasattr(model.config, "quantization_config")


def test_the_conversion_prints_nothing(tiny, capfd):
    catalog.converted(tiny)
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_comes_along_and_splits_digits(tiny):
    tokenizer = AutoTokenizer.from_pretrained(catalog.converted(tiny))
    assert tokenizer.tokenize("he 12") == ["he", "Ġ", "1", "2"]
    assert tokenizer.decode(tokenizer("tabs\t日本 🙂")["input_ids"]) == "tabs\t日本 🙂"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "he"}], tokenize=False) == "<|start|>he"


def test_digits_stay_together_where_the_file_says_so(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(catalog.converted(write_tiny_gguf(tmp_path / "t.gguf", pre="gpt-2")))
    assert tokenizer.tokenize("he12") == ["he", "12"]


def test_a_second_use_converts_nothing(tiny, cache, monkeypatch):
    folder = catalog.converted(tiny)
    assert folder.parent == cache / "converted"
    assert folder.name.startswith("tiny-")
    monkeypatch.setattr(gguf, "convert_gguf", None)
    assert catalog.converted(tiny) == folder


def test_a_changed_file_is_converted_anew(tiny):
    before = catalog.converted(tiny)
    write_tiny_gguf(tiny, pre="gpt-2")
    assert catalog.converted(tiny) != before


def test_a_damaged_conversion_is_made_again(tiny):
    weights = catalog.converted(tiny) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    said = []
    catalog.converted(tiny, said.append)
    assert weights.read_bytes() == whole
    assert said == ["Converting tiny.gguf (once) ..."]


def test_files_beside_the_users_are_not_mixed_in(tiny):
    (tiny.parent / "config.json").write_text('{"model_type": "gpt2", "auto_map": {"AutoConfig": "evil.Config"}}')
    (tiny.parent / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "bos_token": "x"}')
    folder = catalog.converted(tiny)
    assert '"model_type": "llama"' in (folder / "config.json").read_text()
    assert AutoTokenizer.from_pretrained(folder).bos_token == "<|start|>"
    assert not (folder / "source.gguf").exists()


def _refusal(file: Path, cache: Path) -> str:
    with pytest.raises(ModelError) as error:
        catalog.converted(file)
    assert not list(cache.rglob("*.safetensors"))
    assert not list((cache / "converted").glob("*"))
    return str(error.value)


@pytest.mark.parametrize("kept", [0, 3, 20, 2_000, -5_000, -1])
def test_a_truncated_file_is_refused(tiny, cache, kept):
    tiny.write_bytes(tiny.read_bytes()[:kept])
    assert _refusal(tiny, cache) == (
        f"The file {tiny} is cut short, or is no GGUF file. Download it again and compare its size."
    )


def test_a_file_of_another_kind_is_refused(tmp_path, cache):
    other = tmp_path / "text.gguf"
    other.write_text("once upon a time " * 1000)
    assert _refusal(other, cache).startswith(f"The file {other} is cut short, or is no GGUF file.")


def test_an_unknown_architecture_is_named(tmp_path, cache):
    file = write_tiny_gguf(tmp_path / "new.gguf", architecture="marvel")
    assert _refusal(file, cache) == (
        f"The file {file} has the architecture 'marvel', which Transformers cannot read from a .gguf. "
        "Give the folder of the original safetensors instead."
    )


def test_missing_weights_are_not_made_up(tmp_path, cache):
    file = write_tiny_gguf(tmp_path / "gap.gguf", leave_out="blk.1.ffn_up.weight")
    assert _refusal(file, cache) == f"The file {file} lacks the weights model.layers.1.mlp.up_proj.weight."


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError) as error:
        catalog.converted(tmp_path / "none.gguf")
    reason = "cannot be read (No such file or directory)"
    assert str(error.value) == f"The file {tmp_path}/none.gguf {reason}. Check the path."
