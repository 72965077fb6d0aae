import pytest

from lmalgebra.algebra import Model, ModelTerm, Term, check, parse
from lmalgebra.errors import FormulaError, VoiceError

small = Model("smollm2-135m")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("smollm2-135m", "smollm2_135m"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2_135M_Instruct"),
        ("/models/gemma-3.Q4.gguf", "gemma_3_Q4"),
        ("models/tiny/", "tiny"),
        ("3b", "model_3b"),
        ("union", "model_union"),
        ("***", "model"),
    ],
)
def test_a_model_is_named_after_its_source(source, name):
    assert Model(source).name == name
    Term(name)


def test_models_with_the_same_weights_load_once():
    assert Model("x", name="one").weights == Model("x", name="two").weights
    assert Model("x").weights != Model("x", dtype="float32").weights


@pytest.mark.parametrize(
    ("source", "served", "name"),
    [
        ("http://127.0.0.1:8080/v1", "", "model_127_0_0_1_8080"),
        ("https://api.example.com/v1/", "", "api_example_com"),
        ("HTTPS://api.example.com/v1", "org/davinci-002", "davinci_002"),
    ],
)
def test_a_remote_is_named_after_what_is_served(source, served, name):
    model = Model(source, tokenizer="toy", served=served)
    assert (model.name, model.is_remote) == (name, True)
    assert not small.is_remote


def test_a_remote_asked_otherwise_is_another():
    remote = Model("http://x/v1", tokenizer="toy")
    others = [{"served": "y"}, {"key_env": "KEY"}, {"top_logprobs": 5}, {"tokenizer": "toy:3"}]
    assert len({Model(**{"source": "http://x/v1", "tokenizer": "toy"} | more).weights for more in [{}, *others]}) == 5
    assert remote.term(prefix="").name != Model("http://x/v1", tokenizer="toy", top_logprobs=5).term(prefix="").name


def test_a_term_holds_its_description():
    term = small.term(name="formal", system="Be formal.")
    assert term == Term("formal", ModelTerm(small, system="Be formal."))
    assert (term.mass(), term.description.forbids) == (1, False)


def test_a_name_comes_from_the_content():
    helpful = small.term(system="You are a helpful assistant.")
    assert helpful.name == "you_are_a_helpful_feab"
    assert helpful == small.term(system="You are a helpful assistant.")
    assert helpful.name != small.term(system="You are a helpful assistant!").name
    assert helpful.name != Model("other").term(system="You are a helpful assistant.").name
    assert small.term().name.startswith("smollm2_135m_")
    assert small.term(prefix="3 rules").name.startswith("t_3_rules_")
    assert small.term(system="你好").name.startswith("term_")
    assert small.term(system="x" * 99).name.startswith("x" * 24 + "_")
    formula = helpful + 0.5 * (small.term(prefix="") - helpful)
    check(formula)
    assert parse(str(formula), {leaf.name: leaf for leaf in formula.leaves()}) == formula


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model(" "), "The source of a model is empty."),
        (lambda: Model(3), "source=3 of a model is not text."),
        (lambda: Model("x", dtype="int8"), "dtype='int8' is not known."),
        (lambda: Model("x", device=""), "The device of a model is empty."),
        (lambda: Model("http://x/v1"), "A remote needs a tokenizer."),
        (lambda: Model("http://", tokenizer="t"), "The address of a remote names no host."),
        (lambda: Model("http://x:80a/v1", tokenizer="t"), "The address of a remote names no host."),
        (
            lambda: Model("https://me:secret@x.org/v1", tokenizer="t"),
            "The address of the remote at x.org holds more than a place: a user name, or what follows a ? or a #.",
        ),
        (
            lambda: Model("https://x.org/v1?key=secret", tokenizer="t"),
            "The address of the remote at x.org holds more than a place: a user name, or what follows a ? or a #.",
        ),
        (
            lambda: Model("http://x/v1", tokenizer="t", dtype="float32"),
            "dtype='float32' is given for a remote, which has none.",
        ),
        (
            lambda: Model("http://x/v1", tokenizer="t", engine="torch"),
            "engine='torch' is given for a remote, which has none.",
        ),
        (lambda: Model("x", tokenizer="t"), "tokenizer='t' is given for a model that is no remote, which has none."),
        (lambda: Model("x", served="t"), "served='t' is given for a model that is no remote, which has none."),
        (lambda: Model("x", key_env="t"), "key_env='t' is given for a model that is no remote, which has none."),
        (lambda: Model("x", top_logprobs=5), "top_logprobs=5 is given for a model that is no remote, which has none."),
        (lambda: Model("http://x/v1", tokenizer=3), "tokenizer=3 of a model is not text."),
        (
            lambda: Model("http://x/v1", tokenizer="t", top_logprobs=0),
            "top_logprobs=0 of a model is no number of tokens.",
        ),
        (
            lambda: Model("http://x/v1", tokenizer="t", top_logprobs=True),
            "top_logprobs=True of a model is no number of tokens.",
        ),
        (
            lambda: Model("http://x/v1", tokenizer="t", top_logprobs="5"),
            "top_logprobs='5' of a model is no number of tokens.",
        ),
        (
            lambda: small.term(prefix="", system="Hi"),
            "A term cannot have both prefix and system: prefix is plain text without a template.",
        ),
        (
            lambda: small.term(prefix="", template="{{ prompt }}"),
            "A term cannot have both prefix and template: prefix is plain text without a template.",
        ),
        (
            lambda: small.term(prefix="x", chat_template="{{ prompt }}"),
            "A term cannot have both prefix and chat_template: prefix is plain text without a template.",
        ),
        (
            lambda: small.term(template="x", chat_template="y"),
            "A term cannot have both template and chat_template: template takes the place of the chat template.",
        ),
        (lambda: small.term(system=3), "system=3 of a term is not text."),
        (lambda: small.term(adapter=""), "The adapter of a term is empty."),
        (lambda: ModelTerm("small"), "model='small' of a term is not a Model."),
    ],
)
def test_refused_descriptions(make, message):
    with pytest.raises(VoiceError) as caught:
        make()
    assert caught.value.message == message
    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_template_goes_with_system():
    assert small.term(template="{{ system }} {{ prompt }}", system="Hi").description.system == "Hi"


def test_a_name_must_fit_the_text_syntax():
    with pytest.raises(FormulaError, match="'two words' cannot name a term"):
        small.term(name="two words")
