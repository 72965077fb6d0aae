"""Constraints as data: built, named, written into voice files and read back; and what is refused."""

import json

import pytest

import lmalgebra as la
from lmalgebra.algebra import Model, Voice, check, dump_voice, load_voice, parse_voice, save_voice
from lmalgebra.errors import FormulaError, VoiceError

BASE = Model("toy").term(name="base", prefix="")
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TERMS = [
    la.json_schema(SCHEMA, name="c"),
    la.json_schema(True, name="c"),
    la.regex("[0-9]+ \"\\d'\n", name="c"),
    la.grammar('start: "a" start | "b"\n', name="c"),
    la.require(["dog", "ball"], name="c"),
    la.require(["dog", "ball"], ordered=True, inflections=False, name="c"),
    la.forbid(["shut up", "Ä\nb"], name="c"),
    la.forbid(["shut up"], exact=True, name="c"),
]


@pytest.mark.parametrize("term", TERMS, ids=lambda term: str(term.description)[:40])
def test_a_constraint_survives_a_voice_file(term):
    voice = Voice(BASE + term)
    assert parse_voice(dump_voice(voice)) == voice


@pytest.mark.parametrize("term", TERMS[:1])
def test_a_constraint_forbids_and_has_no_mass(term):
    assert (term.mass(), term.description.forbids) == (0, True)
    check(BASE + 2 * term)
    for formula in (BASE - term, BASE - 0.5 * term, 0 * term + BASE):
        with pytest.raises(FormulaError, match="`c` forbids tokens, so its weight must stay above 0"):
            check(formula)


def test_names_say_what_they_are_and_differ_with_the_content():
    assert la.require(["dog", "ball"]).name.startswith("with_dog_ball_")
    assert la.forbid(["shut up"]).name.startswith("without_shut_up_")
    assert la.json_schema(SCHEMA | {"title": "Person"}).name.startswith("json_person_")
    assert la.regex("a+").name.startswith("regex_")
    assert la.grammar('start: "a"').name.startswith("grammar_")
    assert la.regex("a+").name != la.regex("b+").name
    assert la.regex("a+") == la.regex("a+")


def test_files_are_read_beside_the_voice_file(tmp_path):
    (tmp_path / "person.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "answer.lark").write_text('start: "yes"')
    (tmp_path / "voice.toml").write_text(
        'formula = "base + shape + answer"\n[models.toy]\nsource = "toy"\n[terms.base]\nprefix = ""\n'
        '[terms.shape]\njson_schema = "person.json"\n[terms.answer]\ngrammar = "./answer.lark"\n'
    )
    voice = load_voice(tmp_path / "voice.toml")
    assert (
        voice.terms[1] == la.json_schema(tmp_path / "person.json", name="shape") == la.json_schema(SCHEMA, name="shape")
    )
    assert voice.terms[2] == la.grammar(tmp_path / "answer.lark", name="answer")
    save_voice(voice, tmp_path / "copy.toml")
    (tmp_path / "person.json").unlink()
    assert load_voice(tmp_path / "copy.toml") == voice


def test_a_schema_may_be_a_table_of_the_voice_file():
    text = (
        'formula = "base + c"\n[models.toy]\nsource = "toy"\n[terms.base]\nprefix = ""\n'
        '[terms.c.json_schema]\ntype = "object"\nrequired = ["name"]\n'
        '[terms.c.json_schema.properties.name]\ntype = "string"\n'
    )
    voice = parse_voice(text)
    assert json.loads(voice.terms[1].description.schema) == SCHEMA


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: la.json_schema(5), "json_schema=5 is no schema. Give a table, JSON text or a .json file."),
        (lambda: la.json_schema("{"), "json_schema='{' is not JSON: "),
        (lambda: la.json_schema("[1]"), "json_schema='[1]' holds no JSON schema. A schema is an object"),
        (lambda: la.json_schema("gone.json"), "There is no file 'gone.json'. Check the path."),
        (lambda: la.json_schema({"const": {1}}), "The schema {'const': {1}} is no JSON: "),
        (lambda: la.json_schema({"const": float("nan")}), "The schema {'const': nan} is no JSON: "),
        (lambda: la.regex(""), "regex='' is empty. Write a regular expression"),
        (lambda: la.regex(3), "regex=3 is not text."),
        (lambda: la.grammar(" "), "grammar=' ' is empty. Write a Lark grammar"),
        (lambda: la.grammar("gone.lark"), "There is no file 'gone.lark'. Check the path."),
        (lambda: la.require("dog"), "require='dog' is not a list of words. Write require="),
        (lambda: la.require([]), "require=[] names no words. Give at least one."),
        (lambda: la.require(["dog", 5]), "5 in require is not text."),
        (lambda: la.require(["dog", ""]), "'' in require is empty."),
        (lambda: la.require(["dog", "Dog"]), "The word 'Dog' is required twice. Give it once."),
        (lambda: la.require(["dog", "?!"]), "The required word '?!' has no letter or digit."),
        (lambda: la.require([str(n) for n in range(61)]), "61 words are required. Require at most 60."),
        (lambda: la.require(["dog"], ordered=1), "ordered=1 is not true or false."),
        (lambda: la.forbid("dog"), "forbid='dog' is not a list of phrases."),
        (lambda: la.forbid(["dog"], exact="no"), "exact='no' is not true or false."),
        (lambda: la.forbid([]), "forbid=[] names no phrases. Give at least one."),
        (lambda: la.forbid(["a", "  "]), "'  ' in forbid is empty."),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(VoiceError) as error:
        build()
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('regex = "a"\nordered = true', r"\[terms.c\] has no key 'ordered'"),
        ("regex = 5", r"\[terms.c\]: regex=5 is not text"),
        ("forbid = []", r"\[terms.c\]: forbid=\[\] names no phrases"),
        ('require = ["a"]\nordered = "yes"', r"\[terms.c\]: ordered='yes' is not true or false"),
        ('json_schema = "no.json"', r"\[terms.c\]: There is no file 'no.json'"),
        ("grammar = 5", r"grammar of \[terms.c\] is 5, a number; text was expected"),
    ],
)
def test_what_a_voice_file_may_not_hold(table, message):
    text = f'formula = "base + c"\n[models.toy]\nsource = "toy"\n[terms.base]\nprefix = ""\n[terms.c]\n{table}\n'
    with pytest.raises(VoiceError, match=message):
        parse_voice(text)
