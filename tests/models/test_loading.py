"""From a name to a model that is ready, and one sentence for each way in which that fails."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

import lmalgebra as la
from lmalgebra.errors import ModelError
from lmalgebra.models.loading import choose_dtype, load, session_of
from lmalgebra.models.transformers import RecomputeSession, TransformersSession, plain_logits

WORDS = {"<unk>": 0, "<end>": 1, "hello": 2, "world": 3, "and": 4, "the": 5, "city": 6, "night": 7}


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with a tiny Llama and a tokenizer of eight words, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    inner = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the folder that a test may spoil."""
    return shutil.copytree(saved, tmp_path / "tiny")


def test_a_folder_is_loaded_with_its_weights_its_tokenizer_and_its_ends(saved):
    model = load(str(saved), dtype="float32", device="cpu")
    assert isinstance(model.session, TransformersSession)
    assert model.session.context_length == 64
    assert model.tokenizer.encode(["hello world"]) == [2, 3]
    assert model.tokenizer.end_tokens == {1}
    assert model.summary == "llama, 0M parameters, float32 on cpu"
    expected = plain_logits(AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32), [2, 3])
    row = model.session.open()
    torch.testing.assert_close(model.session.extend({row: [2, 3]})[row], expected, rtol=0, atol=1e-5)


def test_what_takes_time_is_reported(saved):
    told = []
    load(str(saved), dtype="float32", report=told.append)
    assert told == [f"Loading {saved} (float32 on cpu) ..."]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_weights_are_loaded_in_the_dtype_that_is_asked_for(saved, dtype):
    model = load(str(saved), dtype=dtype)
    row = model.session.open()
    found = model.session.extend({row: [2, 3]})[row]
    assert dtype in model.summary
    assert found.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert torch.isfinite(found).all()


def test_several_ends_of_a_model_are_all_known(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 4]}))
    assert load(str(folder), dtype="float32").tokenizer.end_tokens == {1, 4}


def test_a_model_that_cannot_be_cached_is_loaded_with_a_note(folder, caplog):
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    model = load(str(folder), dtype="float32")
    assert isinstance(model.session, RecomputeSession)
    note = (
        f"'{folder}' is read anew at every step, which is exact but slow: "
        "its rotary positions depend on the longest row of a pass."
    )
    assert model.session.notes == (note,)
    assert caplog.messages == [note]


def test_weights_are_loaded_once_for_all_terms_and_voices(saved):
    described = la.model(str(saved), dtype="float32")
    models = la.Models()
    base, other = described.term(name="base", prefix=""), described.term(name="other", prefix="hello ")
    again = la.model(str(saved), name="again", dtype="float32").term(name="again", prefix="the ")
    voices = [la.voice(base + 0.5 * (other - base), models=models), la.voice(again, models=models)]
    assert len({id(session) for voice in voices for session in voice.loaded.sessions.values()}) == 1
    assert models(la.model(str(saved), dtype="float64")) is not models(described)


def test_weights_that_were_let_go_are_loaded_anew(saved):
    described, models = la.model(str(saved), dtype="float32"), la.Models()
    first = models(described)
    models.unload()
    assert models(described) is not first


# Every failure is one sentence and a hint.


def refusal_of(source, **options) -> str:
    with pytest.raises(ModelError) as refusal:
        load(str(source), **options)
    return str(refusal.value)


@pytest.mark.parametrize("source", ["./missing", "/missing/folder", "~/missing-folder", "a/b/c"])
def test_a_folder_that_is_missing(source):
    expected = f"There is no model at '{source}'. Give a folder of weights or a .gguf file."
    assert refusal_of(source) == expected


def test_a_file_that_is_no_model(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    assert refusal_of(file) == f"There is no model at '{file}'. Give a folder of weights or a .gguf file."


def test_a_gguf_file_that_is_missing():
    assert refusal_of("missing.gguf") == "There is no file 'missing.gguf'. Give the path of a .gguf file."


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    assert refusal_of(folder) == (
        f"The folder '{folder}' holds no weights (*.safetensors). "
        "Save the model there with save_pretrained; pickled weights (*.bin) are not loaded."
    )


def test_weights_that_are_cut_short(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    message = refusal_of(folder)
    assert message.startswith(f"The model '{folder}' cannot be loaded: ")
    assert message.endswith("Check the name, the network, and that the files of the weights are whole.")
    assert "\n" not in message


def test_weights_without_some_of_their_tensors(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["lm_head.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    assert refusal_of(folder) == (
        f"The weights of '{folder}' are incomplete: 2 tensors are missing, such as lm_head.weight. "
        "Fetch or save them again."
    )


def test_weights_of_another_shape_than_the_configuration(folder):
    config = json.loads((folder / "config.json").read_text()) | {"intermediate_size": 24}
    (folder / "config.json").write_text(json.dumps(config))
    message = refusal_of(folder)
    assert message.startswith(f"The model '{folder}' cannot be loaded: ")
    assert "\n" not in message


@pytest.mark.parametrize("spoiled", ["config.json", "tokenizer.json"])
def test_a_folder_whose_files_are_damaged(folder, spoiled):
    (folder / spoiled).write_text("{ no json")
    assert refusal_of(folder).startswith(f"The model '{folder}' cannot be loaded: ")


def test_a_folder_without_a_tokenizer(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert refusal_of(folder).startswith(f"The model '{folder}' cannot be loaded: ")


def test_a_model_of_an_unknown_kind(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    message = refusal_of(folder)
    assert message.startswith(f"The model '{folder}' cannot be loaded: ")
    assert "abacus" in message


def test_a_name_that_is_not_in_the_catalogue():
    message = refusal_of("smollm2-135")
    assert "'smollm2-135'" in message
    assert "smollm2-135m" in message


def test_an_engine_that_is_unknown():
    assert (
        refusal_of("toy", engine="steam") == "There is no engine 'steam'. Use 'auto', 'torch', 'native' or 'llamacpp'."
    )


def test_a_quantization_that_is_unknown_or_not_for_a_toy():
    assert refusal_of("toy", quantization="int3") == "There is no quantization 'int3'. Use 'none' or 'int4'."
    assert refusal_of("toy", quantization="int4") == (
        "The toy model 'toy' has no quantization 'int4'. Leave it out, or use 'none'."
    )


@pytest.mark.parametrize("device", ["mainframe", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(saved, device):
    assert refusal_of(saved, device=device) == f"The device '{device}' is not available here. Use 'auto' or 'cpu'."


@pytest.mark.parametrize("dtype", ["float99", "int8", "nn", ""])
def test_a_dtype_that_is_unknown(saved, dtype):
    expected = f"There is no dtype '{dtype}'. Use auto, float32, bfloat16, float16 or float64."
    assert refusal_of(saved, dtype=dtype) == expected


def test_the_dtype_is_the_fastest_that_the_processor_computes_in():
    fast = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    assert choose_dtype("auto", torch.device("cpu")) == fast


def test_the_cache_is_bounded_by_the_memory_unless_a_limit_is_given(saved):
    model = AutoModelForCausalLM.from_pretrained(saved)
    assert session_of(model, "tiny").cache.max_tokens > 1 << 16
    assert session_of(model, "tiny", max_cache_tokens=100).cache.max_tokens == 100
