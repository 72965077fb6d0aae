"""Forbidden phrases: never said, whatever the tokens, and always something left to say."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelled import ByteTokenizer, said

from lmalgebra.algebra import forbid
from lmalgebra.models.base import Asked
from lmalgebra.models.constraints import open_constraint
from lmalgebra.models.constraints.phrases import PhraseAutomaton

LETTERS = "abé"
GAPS = " -\n,"
CHARACTERS = LETTERS + LETTERS.upper() + GAPS


def scorer_of(phrases, tokenizer, exact=True):
    return open_constraint(forbid(phrases, exact=exact, name="c").description, tokenizer.model, tokenizer.end_tokens)


def finds(phrases, text: str) -> bool:
    """The rule once more, by a regular expression, for letters in which every accent is one character."""
    gap = r"[\W_]+"
    written = "|".join(gap.join(map(re.escape, phrase.casefold().split())) for phrase in phrases)
    return re.search(rf"(?<![^\W_])(?:{written})(?![^\W_])", text.casefold()) is not None


def automaton_finds(phrases, text: str) -> bool:
    automaton, state = PhraseAutomaton([phrases]), 0
    for character in text:
        symbol = automaton.symbol(character)
        if automaton.found[state, symbol]:
            return True
        state = automaton.step[state, symbol]
    return bool(automaton.pending[state])


words = st.text(LETTERS, min_size=1, max_size=3)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
lists_of_phrases = st.lists(phrases, min_size=1, max_size=4, unique=True)


@given(lists_of_phrases, st.text(LETTERS + GAPS, max_size=12))
def test_the_automaton_finds_what_the_rule_finds(forbidden, text):
    plain, written = (each.replace("é", "c") for each in (" | ".join(forbidden), text))  # no accents: one symbol each
    assert automaton_finds(plain.split(" | "), written) == finds(plain.split(" | "), written)


@settings(deadline=None)
@given(
    lists_of_phrases,
    st.lists(st.text(CHARACTERS, min_size=1, max_size=5), min_size=4, max_size=30, unique=True),
    st.integers(0, 1 << 32),
    st.integers(1, 12),
    st.booleans(),
)
def test_no_phrase_is_ever_said(forbidden, pieces, seed, most, exact):
    """Whole and broken characters, several words in a token, any cut; the last letters are a way out of any word."""
    broken = {piece.encode()[:cut] for piece in pieces for cut in (1, 2)} | {b"\xa9", b"\xe2", b"\x80", b"\x8b"}
    tokenizer = ByteTokenizer([*{piece.encode() for piece in pieces} | broken, b"x", b"a", b" "])
    scorer, draw = scorer_of(forbidden, tokenizer, exact), random.Random(seed)
    text = tokenizer.decode(said(scorer, tokenizer, draw, most, drafts=True)).replace("\u200b", "")  # it is not seen
    assert not finds(forbidden, text), text


def allowed(scorer, tokenizer, before: str, most: int | None = None) -> set[bytes]:
    """The tokens that may follow `before`, which is spelled by single bytes; the end is the empty one."""
    tokens = [tokenizer.pieces.index(bytes([byte])) for byte in before.encode()]
    (scores,) = scorer.scores([Asked(scorer.begin((), most), tokens, len(tokens))])
    return {tokenizer.pieces[token] for token, score in enumerate(scores[0].tolist()) if score == 0}


@pytest.fixture(scope="module")
def tokenizer():
    return ByteTokenizer([*(bytes([byte]) for byte in range(256)), b" shut", b" up", b"up.", b" upper", b"t up "])


def test_a_phrase_is_forbidden_once_its_last_word_is_whole(tokenizer):
    scorer = scorer_of(["shut up"], tokenizer)
    after = allowed(scorer, tokenizer, "do shut")
    assert {b" up", b" upper", b" ", b"s", b""} <= after
    assert not {b"up."} & allowed(scorer, tokenizer, "shut ")
    assert b"t up " not in allowed(scorer, tokenizer, "shu")
    assert b"t up " in allowed(scorer, tokenizer, "ashu")
    pending = allowed(scorer, tokenizer, "Shut  UP")
    assert b"" not in pending
    assert b" " not in pending
    assert {b"s", b"\xc3"} <= pending


def test_no_token_ends_with_a_phrase_unless_only_whole_words_count(tokenizer):
    scorer = scorer_of(["shut up"], tokenizer, exact=False)
    after = allowed(scorer, tokenizer, "do shut")
    assert {b" upper", b" ", b"s", b""} <= after
    assert b" up" not in after
    assert b"p" not in allowed(scorer, tokenizer, "shut u")
    assert b"p" in allowed(scorer, tokenizer, "shut a u")
    assert allowed(scorer, tokenizer, "shut u", most=7) == allowed(scorer, tokenizer, "shut u")


def test_a_text_that_is_cut_does_not_end_with_a_phrase(tokenizer):
    scorer = scorer_of(["shut up"], tokenizer)
    assert b"p" in allowed(scorer, tokenizer, "shut u", most=8)
    assert b"p" not in allowed(scorer, tokenizer, "shut u", most=7)
    assert b"\xc3" in allowed(scorer, tokenizer, "shut up", most=9)  # é, for instance, makes another word of it
    assert b"\xc3" not in allowed(scorer, tokenizer, "shut up", most=8)
    assert b"\xe2" in allowed(scorer, tokenizer, "shut up", most=10)
    assert b"\xe2" not in allowed(scorer, tokenizer, "shut up", most=9)


@pytest.mark.parametrize(
    ("phrase", "found", "missed"),
    [
        (
            "shut up",
            ["SHUT UP!", "shut\n\nup", "(shut-up)", "shut_up", "\uff53hut up", "shu\u00adt up"],
            ["shut upon", "shutup"],
        ),
        ("naïve", ["so Naïve.", "nai\u0308ve"], ["naive", "naïvety"]),
        ("straße", ["STRASSE", "Straße"], ["strasse1"]),
        ("don't", ["I don\u2019t!", "DON'T"], ["donut", "dont"]),
        ("C++", ["in c++.", "C++11"], ["C+", "C#"]),
        (".net", ["a .NET b", "x.net"], ["net", ".nets"]),
        ("笨蛋", ["你笨蛋\uff01", "笨蛋"], ["笨 蛋", "笨"]),
        ("ano", ["ano"], ["año", "an\u0303o"]),
        ("カ", ["カメラ", "ｶ"], ["ガラス"]),
        ("😀", ["hi😀you"], ["😁"]),
        ("ﬁne", ["fine", "FINE"], ["fined"]),
    ],
)
def test_how_phrases_may_be_written(tokenizer, phrase, found, missed):
    scorer = scorer_of([phrase], tokenizer)
    for text in found:
        assert not allowed(scorer, tokenizer, text + " ") or not allowed(scorer, tokenizer, text), text
    for text in missed:
        assert b"" in allowed(scorer, tokenizer, text), text


def test_a_word_of_one_phrase_may_begin_another(tokenizer):
    scorer = scorer_of(["a b", "b c", "b c d"], tokenizer)
    assert not allowed(scorer, tokenizer, "x a b ")
    assert b"" not in allowed(scorer, tokenizer, "b c")
    assert b"" in allowed(scorer, tokenizer, "b cd")
    assert b"" in allowed(scorer, tokenizer, "a c b")


def test_every_letter_may_be_forbidden_as_a_word():
    tokenizer = ByteTokenizer([b"x", b"y", b" "])
    scorer = scorer_of(["x", "y", "xx"], tokenizer)
    assert allowed(scorer, tokenizer, "x") == {b"x", b"y"}
    assert allowed(scorer, tokenizer, "x", most=2) == {b"y"}
    assert allowed(scorer, tokenizer, " ", most=2) == {b" ", b""}
