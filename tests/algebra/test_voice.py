import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.algebra import (
    GenerationSettings,
    Model,
    Term,
    Voice,
    dump_voice,
    load_voice,
    mix,
    new_voice_text,
    parse_voice,
    ramp,
    save_voice,
    union,
    within,
)
from lmalgebra.errors import FormulaError, LmalgebraError, VoiceError

from .strategies import bias

small = Model("smollm2-135m", name="small")
base = small.term(name="base", system="You are a helpful assistant.")
formal = small.term(name="formal", system="You answer in formal, objective language.")

SOUND = """
formula = "base"
[models.small]
source = "smollm2-135m"
[terms.base]
"""


def test_a_new_voice_is_the_one_of_the_readme():
    assert parse_voice(new_voice_text()) == Voice(base + 0.6 * (formal - base))
    assert parse_voice(new_voice_text('a "quoted" \\ path')).models[0].source == 'a "quoted" \\ path'


def test_the_text_of_a_voice():
    voice = Voice(base + 0.6 * (formal - base), GenerationSettings(temperature=0.7, stop=("\n",)))
    assert dump_voice(voice) == (
        'formula = "base + 0.6 * (formal - base)"\n\n'
        '[models.small]\nsource = "smollm2-135m"\n\n'
        '[terms.base]\nmodel = "small"\nsystem = "You are a helpful assistant."\n\n'
        '[terms.formal]\nmodel = "small"\nsystem = "You answer in formal, objective language."\n\n'
        '[generation]\ntemperature = 0.7\nstop = [\n    "\\n",\n]\n'
    )
    assert voice.to_dict() == tomllib.loads(dump_voice(voice))


def test_terms_and_models_come_from_the_formula_and_extras_are_kept(tmp_path):
    other = Model("other", dtype="float32", device="cpu", engine="table", quantization="int4")
    spare = other.term(name="spare", prefix="", adapter="some/adapter")
    voice = Voice(formal + base, terms=(spare, base), models=(Model("unused"),))
    assert [term.name for term in voice.terms] == ["formal", "base", "spare"]
    assert [model.name for model in voice.models] == ["small", "other", "unused"]
    save_voice(voice, tmp_path / "voice.toml")
    assert load_voice(tmp_path / "voice.toml") == voice
    assert os.listdir(tmp_path) == ["voice.toml"]


def test_a_remote_is_saved_and_read_back(tmp_path):
    remote = Model("http://127.0.0.1:8080/v1", "there", tokenizer="toy", served="it", key_env="KEY", top_logprobs=100)
    voice = Voice(remote.term(name="a", prefix="") + Model("https://x.org/v1", tokenizer="toy").term(name="b"))
    assert voice.to_dict()["models"] == {
        "there": {
            "source": "http://127.0.0.1:8080/v1",
            "tokenizer": "toy",
            "served": "it",
            "key_env": "KEY",
            "top_logprobs": 100,
        },
        "x_org": {"source": "https://x.org/v1", "tokenizer": "toy"},
    }
    save_voice(voice, tmp_path / "voice.toml")
    assert load_voice(tmp_path / "voice.toml") == voice


def test_a_tokenizer_beside_the_voice_file_is_found_there(tmp_path):
    place = tmp_path / "voice.toml"
    remote = '[models.m]\nsource = "http://x/v1"\ntokenizer = "./t.gguf"\n'
    place.write_text(f'formula = "base"\n{remote}[terms.base]\n')
    assert load_voice(place).models[0].tokenizer == str(tmp_path / "t.gguf")
    text = dump_voice(Voice(Model("http://x/v1", tokenizer="../t").term(name="t")))
    assert tomllib.loads(text)["models"]["x"]["tokenizer"] == os.path.abspath("../t")


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts, texts, st.integers(1, 500), st.floats(0, 5), st.lists(texts.filter(bool)))
def test_saved_voices_read_back(system, prefix, count, temperature, stop):
    one, two = small.term(system=system), small.term(name="two", prefix=prefix)
    formula = one + 0.5 * (two - one) + within(mix(one, two), top_k=3) + ramp(0, 1, tokens=count) * union(one, two)
    voice = Voice(formula, GenerationSettings(count, temperature=temperature, stop=tuple(stop)))
    assert parse_voice(dump_voice(voice)) == voice


def test_one_model_needs_no_mention():
    assert parse_voice(SOUND).terms[0].description.model == small


def test_relative_places_start_at_the_voice_file(tmp_path):
    (tmp_path / "beside").mkdir()
    place = tmp_path / "sub" / "voice.toml"
    place.parent.mkdir()
    (place.parent / "adapter").mkdir()
    place.write_text(
        'formula = "base + b + c"\n[models.m]\nsource = "../beside"\n[models.hub]\nsource = "org/name"\n'
        '[models.dot]\nsource = "./x.gguf"\n'
        '[terms.base]\nmodel = "m"\nadapter = "adapter"\n[terms.b]\nmodel = "hub"\n[terms.c]\nmodel = "dot"\n'
    )
    voice = load_voice(place)
    assert [model.source for model in voice.models] == [
        str(tmp_path / "beside"),
        "org/name",
        str(place.parent / "x.gguf"),
    ]
    assert voice.terms[0].description.adapter == str(place.parent / "adapter")
    save_voice(voice, tmp_path / "moved.toml")
    assert load_voice(tmp_path / "moved.toml") == voice


def test_a_path_relative_to_the_current_folder_is_saved_absolute():
    text = dump_voice(Voice(Model("./weights").term(name="t", adapter="../adapter")))
    assert tomllib.loads(text)["models"]["weights"]["source"] == os.path.abspath("weights")
    assert tomllib.loads(text)["terms"]["t"]["adapter"] == os.path.abspath("../adapter")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    place = tmp_path / "voice.toml"
    save_voice(Voice(base), place)
    before = place.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VoiceError, match=r"cannot be saved as .*: no space left on device"):
        save_voice(Voice(formal), place)
    assert place.read_text() == before
    assert os.listdir(tmp_path) == ["voice.toml"]


REFUSED = [
    ("formula = 'base", 'the voice is not valid TOML: Expected "\'" (at end of document).'),
    ('formula = "base"\nx = = 1', "the voice is not valid TOML: Invalid value (at line 2, column 5)."),
    ("x = " + "[" * 5000, "the voice nests too deeply to be a voice."),
    ("", 'the voice: the formula is missing. Add a line such as formula = "base".'),
    ('formula = "base"', "the voice: no model is declared."),
    (SOUND.replace('"base"', "3"), "the voice: formula is 3, a number; text was expected."),
    (SOUND + "sytem = 'x'", "the voice: [terms.base] has no key 'sytem'. Did you mean 'system'?"),
    (
        SOUND + '[models.m]\nsource = "http://x/v1"',
        "the voice: [models.m]: A remote needs a tokenizer. Give tokenizer = ",
    ),
    (
        SOUND + '[models.m]\nsource = "http://x/v1"\ntokenizer = "t"\ntop_logprobs = "5"',
        "the voice: [models.m]: top_logprobs='5' of a model is no number of tokens. Give 1 or more.",
    ),
    (
        SOUND + '[models.m]\nsource = "x"\nkey_env = "K"',
        "the voice: [models.m]: key_env='K' is given for a model that is no remote, which has none. Leave it out: it "
        "is for remotes.",
    ),
    (SOUND + "system = 3", "the voice: system of [terms.base] is 3, a number; text was expected."),
    (
        SOUND + "model = 'smal'",
        "the voice: [terms.base] names the model 'smal', which is not declared. Did you mean 'small'?",
    ),
    (
        SOUND + "[models.other]\nsource = 'x'",
        "the voice: [terms.base] does not say its model. Add model = one of: small, other.",
    ),
    (SOUND + "[models.other]\n", "the voice: [models.other] has no source."),
    (SOUND + "[models.other]\nsource = 'x'\ndtype = 'int4'", "the voice: [models.other]: dtype='int4' is not known."),
    (SOUND + "[models.other]\nsource = 'x'\nquant = 'y'", "the voice: [models.other] has no key 'quant'."),
    (SOUND + "[term.x]", "the voice: a voice file has no key 'term'. Did you mean 'terms'?"),
    (
        SOUND + "[generation]\ntemperatur = 1",
        "the voice: [generation] has no key 'temperatur'. Did you mean 'temperature'?",
    ),
    (
        SOUND + "[generation]\ntop_p = 2",
        "the voice: [generation]: top_p=2 is out of range. Give a number above 0 and at most 1.",
    ),
    (SOUND + "[generation]\nstop = ['']", "the voice: [generation]: stop=[''] is out of range."),
    ("generation = 3\n" + SOUND, "the voice: [generation] is 3, a number; a table was expected."),
    ("models = []\nformula = 'a'", "the voice: [models] is [], a list; a table was expected."),
    (SOUND + "prefix = ''\nsystem = ''", "the voice: [terms.base]: A term cannot have both prefix and system"),
    (SOUND + "[terms.union]\n", "the voice: [terms.union]: 'union' cannot name a term"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused_voice_files(text, message):
    with pytest.raises(VoiceError) as caught:
        parse_voice(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("", "v.toml: The formula is empty."),
        (
            "base + bse",
            "v.toml: `bse` is not a term.\n  base + bse\n         ^^^ Did you mean `base`? Known terms: base.",
        ),
        ("base - base", "v.toml: `base - base` has mass 0 and so no distribution."),
    ],
)
def test_refused_formulas_name_the_file(formula, message):
    with pytest.raises(FormulaError) as caught:
        parse_voice(SOUND.replace('"base"', f'"{formula}"'), origin="v.toml")
    assert str(caught.value).startswith(message)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'formula = "caf\xe9"')
    for name, message in [
        ("missing.toml", "There is no voice file "),
        ("", "is a folder, not a voice file."),
        ("latin.toml", "is not UTF-8 text."),
        ("missing.toml/x", "There is no voice file "),
        ("nul\x00l", "cannot be read: embedded null byte."),
    ]:
        with pytest.raises(VoiceError, match=message):
            load_voice(tmp_path / name)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(VoiceError, match=r"There is no folder .* to save a voice in. Make it first."):
        save_voice(Voice(base), tmp_path / "none" / "voice.toml")
    with pytest.raises(VoiceError, match="is a folder, so no voice can be saved there"):
        save_voice(Voice(base), tmp_path)
    with pytest.raises(VoiceError, match=r"cannot be saved as .*: file name too long"):
        save_voice(Voice(base), tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Voice("base"), "'base' is not a formula."),
        (lambda: Voice(formal - base), "`formal - base` has mass 0 and so no distribution."),
        (lambda: Voice(base, terms=(small.term(name="base"),)), "Two different terms are both named 'base'."),
        (lambda: Voice(base + Model("x", name="small").term()), "Two different models are both named 'small'."),
        (lambda: dump_voice(Voice(Term("a"))), "The term 'a' stands for no model, so a voice file cannot hold it."),
        (lambda: dump_voice(Voice(base + bias)), "The term 'bias' is a Bias, which a voice file cannot hold."),
        (lambda: dump_voice(Voice(sum([base] * 2000, base))), "The formula has more than 1000 operators."),
    ],
)
def test_refused_voices(make, message):
    with pytest.raises(LmalgebraError) as caught:
        make()
    assert caught.value.message.startswith(message)
