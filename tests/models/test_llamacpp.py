"""llama.cpp beside Transformers on one model: tokens, texts and chat; and what it refuses.

The contract suite has rows and logits.
"""

import builtins
import gc
import weakref
from pathlib import Path

import pytest

import lmalgebra as la
from lmalgebra.errors import CacheFullError, ModelError
from lmalgebra.models.base import Message, Quoted, vocabulary_difference
from lmalgebra.models.loading import load
from tiny_gguf import write_tiny_gguf

NAME = "smollm2-135m"
TEXTS = [
    "Hello world",
    "  two spaces\n\n\ta tab, 1234 and 12,5",
    "Grüße aus Zürich 😀 日本語 \u0301",
    "<|im_start|>user\nhi<|im_end|>",
    "I'll, don't, WE'VE",
    "",
    "a" * 70,
    Path(__file__).read_text(),
]
CHATS: list[list[Message]] = [
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I."},
        {"role": "user", "content": "Who?"},
    ],
]


@pytest.fixture(scope="module", autouse=True)
def needs_llama_cpp():
    pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module")
def ours(smollm2):
    return load(NAME, engine="llamacpp", max_cache_tokens=4096)


@pytest.fixture(scope="module")
def theirs(smollm2):
    return load(NAME, dtype="float32", engine="torch")


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


# tokens and texts


def test_the_vocabularies_are_equal(ours, theirs):
    assert vocabulary_difference(ours.tokenizer, theirs.tokenizer) == ""
    assert ours.session.vocabulary_size == theirs.session.vocabulary_size
    assert ours.tokenizer.end_tokens >= theirs.tokenizer.end_tokens


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("start", [True, False])
def test_texts_have_the_same_tokens(ours, theirs, text, start):
    for parts in ([text], [Quoted(text)], ["<|im_start|>user\n", Quoted(text), "<|im_end|>"]):
        assert ours.tokenizer.encode(parts, start) == theirs.tokenizer.encode(parts, start)
    assert ours.tokenizer.has_control(text) == theirs.tokenizer.has_control(text)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_give_the_text_back(ours, theirs, text):
    tokens = theirs.tokenizer.encode([Quoted(text)])
    assert ours.tokenizer.decode(tokens) == theirs.tokenizer.decode(tokens) == text
    stream = ours.tokenizer.stream()
    assert "".join(map(stream.push, tokens)) + stream.finish() == text


def test_a_text_that_ends_inside_a_character_says_so(ours):
    tokens = ours.tokenizer.encode(["😀"])
    stream = ours.tokenizer.stream()
    assert [stream.push(token) for token in tokens[:-1]] == [""] * (len(tokens) - 1)
    assert stream.finish() == "\ufffd"


@pytest.mark.parametrize("messages", CHATS)
def test_chats_are_told_alike(ours, theirs, messages):
    assert ours.tokenizer.chat(messages) == theirs.tokenizer.chat(messages)
    other = "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m | tojson }}{% endfor %}"
    assert ours.tokenizer.chat(messages, other) == theirs.tokenizer.chat(messages, other)


def test_a_chat_template_that_fails_is_quoted(ours):
    with pytest.raises(ModelError, match="refuses this conversation: roles must alternate"):
        ours.tokenizer.chat(CHATS[0], "{{ raise_exception('roles must alternate') }}")


def test_a_file_without_a_chat_template_says_so(tiny, tmp_path):
    plain = load(str(write_tiny_gguf(tmp_path / "plain.gguf", chat=False)), engine="llamacpp")
    assert load(str(tiny), engine="llamacpp").tokenizer.has_chat_template
    assert not plain.tokenizer.has_chat_template
    with pytest.raises(ModelError, match="has no chat template, so it takes no system prompt or conversation"):
        plain.tokenizer.chat(CHATS[0])


# sessions


def test_a_formula_may_mix_engines(smollm2):
    base = la.model(NAME, engine="llamacpp").term(name="base", system="You are a helpful assistant.")
    formal = la.model(NAME, name="exact", dtype="float32", engine="torch").term(
        name="formal", system="You speak formally."
    )
    settings = {"temperature": 0, "max_new_tokens": 12}
    voice = la.voice(base + 0.6 * (formal - base), **settings)
    text = voice.generate("What is the moon?").text
    assert (
        text
        == la.voice(base + 0.6 * (formal - base), speculate="base:3", **settings).generate("What is the moon?").text
    )
    assert text == "".join(voice.stream("What is the moon?"))


def test_a_session_is_freed_with_its_last_use(tiny):
    model = load(str(tiny), engine="llamacpp")
    gone = weakref.ref(model.session)
    del model
    gc.collect()
    assert gone() is None


# what is refused


def test_rows_beyond_what_llama_cpp_allows(tiny):
    session = load(str(tiny), engine="llamacpp").session
    rows = [session.open([1]) for _ in range(256)]
    with pytest.raises(CacheFullError, match=r"it holds 256 rows, the most that llama.cpp allows\. Run fewer"):
        session.open([1])
    session.close(rows[7])
    session.extend({session.open([1, 2]): [3]})


@pytest.mark.parametrize(
    ("options", "named"),
    [({"dtype": "float32"}, "dtype 'float32'"), ({"quantization": "int4"}, "quantization 'int4'")],
)
def test_what_the_file_decides(tiny, options, named):
    with pytest.raises(ModelError, match=f"^The engine 'llamacpp' has no {named}.*Leave it out: the file decides"):
        load(str(tiny), engine="llamacpp", **options)


def test_a_gpu_that_the_library_was_not_built_for(tiny, monkeypatch):
    monkeypatch.setattr("llama_cpp.llama_supports_gpu_offload", lambda: False)
    with pytest.raises(
        ModelError, match=r"^The device 'cuda' cannot be used: llama-cpp-python was built without a GPU"
    ):
        load(str(tiny), engine="llamacpp", device="cuda")
    assert load(str(tiny), engine="llamacpp").summary.endswith("llama.cpp on cpu")


def test_a_model_of_embeddings(tmp_path):
    file = write_tiny_gguf(tmp_path / "tiny.gguf", causal=False)
    with pytest.raises(
        ModelError, match=r"holds a model of the kind 'llama', which does not write text\. Use a decoder"
    ):
        load(str(file), engine="llamacpp")


def refusal_of_adapter(tiny, place) -> str:
    with pytest.raises(ModelError) as refusal:
        load(str(tiny), engine="llamacpp").session.open([1], adapter=str(place))
    return str(refusal.value).removeprefix(f"The adapter '{place}' cannot be used: ")


def test_an_adapter_in_a_folder(tiny, tmp_path):
    assert refusal_of_adapter(tiny, tmp_path) == (
        "the engine 'llamacpp' reads adapters from .gguf files. "
        "Convert it with llama.cpp's convert_lora_to_gguf.py, or use the engine 'torch' for the model."
    )


def test_a_file_of_an_adapter_that_is_missing(tiny, tmp_path):
    place = tmp_path / "gone.gguf"
    assert refusal_of_adapter(tiny, place) == "there is no such file. Give the path of a .gguf file."


def test_a_file_that_holds_no_adapter_for_the_model(tiny, tmp_path, capfd):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no such file")
    for place in (broken, tiny):
        message = refusal_of_adapter(tiny, place)
        assert message.endswith(". Use it with the model that it was trained for.")
        assert "it gives no reason" not in message
        assert "\n" not in message
    assert capfd.readouterr().err == ""


def test_places_that_are_no_gguf_file(tmp_path):
    for source in (str(tmp_path), "someone/model", str(tmp_path / "x.bin")):
        with pytest.raises(ModelError, match=f"^The engine 'llamacpp' cannot load '{source}'. It reads .gguf files"):
            load(source, engine="llamacpp")
    with pytest.raises(ModelError, match=r"^There is no file '.*gone.gguf'. Give the path of a .gguf file.$"):
        load(str(tmp_path / "gone.gguf"), engine="llamacpp")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-2000], "data is not within the file bounds, model is corrupted or incomplete"),
        (lambda content: content[:300], ""),
        (lambda content: b"no such file", "invalid magic"),
        (lambda content: b"", ""),
    ],
)
def test_damaged_files(tiny, damage, reason, capfd):
    tiny.write_bytes(damage(tiny.read_bytes()))
    with pytest.raises(ModelError, match=f"^llama.cpp cannot load '{tiny}': .*{reason}.*Check the file, or use"):
        load(str(tiny), engine="llamacpp")
    assert capfd.readouterr() == ("", "")


def test_an_architecture_that_llama_cpp_does_not_know(tmp_path):
    file = write_tiny_gguf(tmp_path / "tiny.gguf", architecture="abacus")
    with pytest.raises(ModelError, match="unknown model architecture: 'abacus'"):
        load(str(file), engine="llamacpp")


def test_without_the_library_the_extra_is_named(tiny, monkeypatch):
    plain = builtins.__import__

    def refuse(name, *given):
        if name == "llama_cpp":
            raise ImportError(name)
        return plain(name, *given)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModelError) as refusal:
        load(str(tiny), engine="llamacpp")
    assert str(refusal.value) == (
        "The engine 'llamacpp' needs llama-cpp-python, which is not installed. "
        "Install it with: pip install 'lmalgebra[llamacpp]'"
    )
