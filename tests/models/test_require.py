"""Required words: always there, in time, and the end only after them."""

import random
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spelled import ByteTokenizer, said

from lmalgebra.algebra import require
from lmalgebra.errors import DecodingError, ModelError
from lmalgebra.models.base import Asked
from lmalgebra.models.constraints import open_constraint

BYTES = [bytes([byte]) for byte in range(256)]


def scorer_of(words, tokenizer, **options):
    return open_constraint(require(words, name="c", **options).description, tokenizer.model, tokenizer.end_tokens)


def has(words, text: str, ordered: bool) -> bool:
    patterns = [rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" for word in words]
    if ordered:
        return re.search("(?s:.*?)".join(patterns), text, re.IGNORECASE) is not None
    return all(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


words = st.text("abé", min_size=1, max_size=4)
pieces = st.text("abAé ,", min_size=1, max_size=4).map(str.encode)


@settings(deadline=None)
@given(
    st.lists(words, min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.lists(pieces, max_size=20),
    st.integers(0, 1 << 32),
    st.integers(1, 30),
)
def test_the_words_are_there_at_the_end(wanted, ordered, others, seed, most):
    """Among tokens that cut characters, words and spaces anywhere."""
    tokenizer = ByteTokenizer(dict.fromkeys([b"a", b"b", "é".encode()[:1], "é".encode()[1:], b" ", b"\xe2", *others]))
    scorer = scorer_of(wanted, tokenizer, ordered=ordered, inflections=False)
    try:
        tokens = said(scorer, tokenizer, random.Random(seed), most, drafts=True)
    except DecodingError as error:
        assume("need" not in str(error))
        raise
    text = tokenizer.decode(tokens)
    assert has(wanted, text, ordered), text


def allowed(scorer, tokenizer, before: str, most: int | None = None) -> set[bytes]:
    tokens = [tokenizer.pieces.index(bytes([byte])) for byte in before.encode()]
    (scores,) = scorer.scores([Asked(scorer.begin((), most), tokens, len(tokens))])
    return {tokenizer.pieces[token] for token, score in enumerate(scores[0].tolist()) if score == 0}


@pytest.fixture(scope="module")
def tokenizer():
    return ByteTokenizer([*BYTES, b" dog", b" cat", b"og", b"at", b" do", b"dog cat"])


def test_while_there_is_room_only_the_end_is_forbidden(tokenizer):
    scorer = scorer_of(["dog", "cat"], tokenizer)
    everything = set(tokenizer.pieces)
    assert allowed(scorer, tokenizer, "a ", most=100) == everything - {b""}
    assert allowed(scorer, tokenizer, "a ") == everything - {b""}
    assert allowed(scorer, tokenizer, "a cat dog", most=100) == everything
    assert allowed(scorer, tokenizer, "a cat dogma", most=100) == everything - {b""}


def test_words_are_led_to_when_room_is_short(tokenizer):
    scorer = scorer_of(["dog", "cat"], tokenizer, inflections=False)
    assert allowed(scorer, tokenizer, "x", most=3) == {b" dog", b" cat", b"dog cat"}
    assert {b" do", b" ", b"c"} <= allowed(scorer, tokenizer, "x ", most=5)
    assert allowed(scorer, tokenizer, "cat do", most=7) == {b"g", b"G", b" dog"}
    assert allowed(scorer, tokenizer, "cat do", most=8) >= {b"g", b" do", b" "}
    assert allowed(scorer, tokenizer, "dog", most=4) == {b" cat"}


def test_order_counts_only_where_it_is_asked_for(tokenizer):
    ordered = scorer_of(["dog", "cat"], tokenizer, ordered=True)
    assert b"" not in allowed(ordered, tokenizer, "cat dog")
    assert b"" in allowed(ordered, tokenizer, "cat dog cat")
    assert b"" in allowed(ordered, tokenizer, "Dog, Cat!")
    assert b"" in allowed(scorer_of(["dog", "cat"], tokenizer), tokenizer, "cat dog")


def test_any_inflection_counts_unless_it_is_asked_not_to(tokenizer):
    scorer = scorer_of(["run", "child"], tokenizer)
    for text in ("children ran", "the child's running", "Run, CHILD"):
        assert b"" in allowed(scorer, tokenizer, text), text
    for text in ("children rang", "childish runs"):
        assert b"" not in allowed(scorer, tokenizer, text), text
    exact = scorer_of(["run", "child"], tokenizer, inflections=False)
    assert b"" not in allowed(exact, tokenizer, "children ran")


def test_several_words_may_be_one_entry(tokenizer):
    scorer = scorer_of(["ice cream"], tokenizer, inflections=False)
    assert b"" in allowed(scorer, tokenizer, "an ice-cream")
    assert b"" not in allowed(scorer, tokenizer, "ice or cream")


def test_a_text_too_short_for_the_words_is_refused(tokenizer):
    scorer = scorer_of(["dog", "zebra"], tokenizer)
    with pytest.raises(
        DecodingError,
        match=r"The required words 'dog', 'zebra' need 6 tokens, but the text may have only 5. Raise max_new_tokens",
    ):
        allowed(scorer, tokenizer, "", most=5)
    assert allowed(scorer, tokenizer, "", most=6)


def test_a_word_that_cannot_be_spelled_is_refused():
    tokenizer = ByteTokenizer([b"a", b"b", b" "])
    with pytest.raises(ModelError, match=r"The required word 'cab' cannot be spelled with the tokens of 'bytes'"):
        scorer_of(["ab", "cab"], tokenizer, inflections=False)


def test_without_spaces_a_word_may_be_the_whole_text():
    tokenizer = ByteTokenizer([b"a", b"b"])
    scorer = scorer_of(["aba"], tokenizer, inflections=False)
    assert allowed(scorer, tokenizer, "ab", most=3) == {b"a"}
    with pytest.raises(ModelError, match="'a' cannot be spelled"):
        scorer_of(["a", "b"], tokenizer, inflections=False)
