"""Schemas, regular expressions and grammars: what is allowed after any beginning, and what is refused."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from spelled import ByteTokenizer, said

import lmalgebra as la
from lmalgebra.errors import VoiceError
from lmalgebra.models.base import Asked
from lmalgebra.models.constraints import open_constraint

WORDS = [b'"name"', b'": "', b'",', b"},", b"12", b"true", b"]}", b'{"', b"null", "é".encode(), b" "]
TOKENIZER = ByteTokenizer([*(bytes([byte]) for byte in range(256)), *WORDS])


def scorer_of(term, tokenizer=TOKENIZER):
    return open_constraint(term.description, tokenizer.model, tokenizer.end_tokens)


def allowed(scorer, before: bytes, tokenizer=TOKENIZER) -> set[bytes]:
    tokens = [tokenizer.pieces.index(bytes([byte])) for byte in before]
    (scores,) = scorer.scores([Asked(scorer.begin(()), tokens, len(tokens))])
    return {tokenizer.pieces[token] for token, score in enumerate(scores[0].tolist()) if score == 0}


def test_a_text_may_end_exactly_when_it_is_complete():
    scorer = scorer_of(la.regex("a|ab{2}c?"))
    assert allowed(scorer, b"") == {b"a"}
    assert allowed(scorer, b"a") == {b"b", b""}
    assert allowed(scorer, b"ab") == {b"b"}
    assert allowed(scorer, b"abb") == {b"c", b""}
    assert allowed(scorer, b"abbc") == {b""}
    assert allowed(scorer, b"abx") == set()


def test_a_pattern_may_hold_what_a_grammar_would_read_otherwise():
    scorer = scorer_of(la.regex('a/b\n"#\\d // c'))
    assert allowed(scorer, b"a/b") == {b"\n"}
    assert b"7" in allowed(scorer, b'a/b\n"#')
    assert allowed(scorer, b'a/b\n"#7 // c') == {b""}


def test_any_token_that_goes_on_is_allowed_also_where_only_one_text_is_possible():
    scorer = scorer_of(la.json_schema({"const": "12é"}))
    assert allowed(scorer, b'"') == {b"1", b"12"}
    assert allowed(scorer, b'"12') == {"é".encode(), "é".encode()[:1]}


def test_json_has_at_most_one_space_between_its_parts_unless_the_schema_says_else():
    assert allowed(scorer_of(la.json_schema({"type": "boolean"})), b"") == {b"t", b"f", b"true"}
    scorer = scorer_of(la.json_schema({"type": "array", "items": {"type": "null"}}))
    assert b" " in allowed(scorer, b"[")
    assert b" " not in allowed(scorer, b"[ ")
    assert b"\n" not in allowed(scorer, b"[")
    free = {"type": "array", "items": {"type": "null"}, "x-guidance": {"whitespace_pattern": "\\n*"}}
    assert b"\n" in allowed(scorer_of(la.json_schema(free)), b"[\n")


def test_grammars_may_nest_and_name_control_tokens():
    scorer = scorer_of(la.grammar('start: "(" start ")" | "x"'))
    assert allowed(scorer, b"((") == {b"(", b"x"}
    assert allowed(scorer, b"((x") == {b")"}
    assert allowed(scorer, b"((x))") == {b""}


SCALARS = [
    {"type": "integer", "minimum": -5, "maximum": 120},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["a", 1, None, "é"]},
    {"type": "string", "maxLength": 6},
    {"type": "number", "minimum": 0, "maximum": 1},
]
schemas = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "minItems": 1, "maxItems": 3}, inner),
        st.builds(
            lambda values, count: {
                "type": "object",
                "properties": values,
                "required": sorted(values)[:count],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from(["name", "x y", "é"]), inner, min_size=1),
            st.integers(0, 3),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=60)
@given(schemas, st.integers(0, 1 << 32))
def test_every_text_that_ends_is_valid(schema, seed):
    """Random tokens among those that are allowed; drafts come and go."""
    tokens = said(scorer_of(la.json_schema(schema)), TOKENIZER, random.Random(seed), most=150, drafts=True)
    if tokens[-1] == TOKENIZER.end:
        Draft202012Validator(schema).validate(json.loads(TOKENIZER.decode(tokens)))


def test_a_matcher_goes_back_as_if_it_had_never_gone_on():
    term = la.regex("(ab|a)*c[0-9]{1,3}")
    scorer, draw = scorer_of(term), random.Random(0)
    tokens = [TOKENIZER.pieces.index(bytes([byte])) for byte in b"abaabc123"]
    state = scorer.begin(())
    for _ in range(200):
        first = draw.randint(0, len(tokens))
        some = tokens[: draw.randint(first, len(tokens))] + draw.choices(tokens, k=draw.randint(0, 3))
        fresh = scorer_of(term)
        (ours,) = scorer.scores([Asked(state, some, first)])
        (theirs,) = fresh.scores([Asked(fresh.begin(()), some, first)])
        assert ours.equal(theirs)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (la.regex("(x"), "regex='(x' cannot be used: unclosed group. Mend it."),
        (la.regex("a(?=b)"), "regex='a(?=b)' cannot be used: look-around, including"),
        (la.grammar("start: foo"), "grammar='start: foo' cannot be used: at 1(8): unknown name: \"foo\". Mend it."),
        (la.grammar('begin: "a"'), "grammar='begin: \"a\"' cannot be used: no start rule found. Mend it."),
        (la.json_schema({"type": "sting"}), 'json_schema=\'{"type": "sting"}\' cannot be used: Invalid type: sting.'),
        (la.json_schema({"x-guidance": 5}), "json_schema='{\"x-guidance\": 5}' cannot be used: "),
        (la.json_schema(False), "json_schema='false' cannot be used: "),
        (
            la.json_schema({"propertyNames": {"pattern": "a"}}),
            'json_schema=\'{"propertyNames": {"pattern": "a"}}\' cannot',
        ),
    ],
    ids=lambda each: str(getattr(each, "description", "")),
)
def test_what_cannot_be_read_is_refused(term, message):
    with pytest.raises(VoiceError) as error:
        scorer_of(term)
    assert str(error.value).startswith(message)
