"""Which token a server means by a name, and the text that a row of tokens is."""

import pytest

from lmalgebra.models.base import Tokenizer
from lmalgebra.models.table import TableModel, TableTokenizer
from lmalgebra.models.token_names import TokenNames
from lmalgebra.models.tokenizer_only import load_tokenizer


class Written(Tokenizer):
    """A vocabulary alone; it splits text into the pieces that are given for it."""

    end_tokens, has_chat_template = frozenset[int](), False

    def __init__(self, *pieces: str, **splits: list[int]) -> None:
        self._pieces = {piece: token for token, piece in enumerate(pieces)}
        self._splits = splits

    @property
    def vocabulary(self):
        return self._pieces

    def encode(self, parts, start=True):
        return self._splits.get("".join(parts), [])

    def has_control(self, text): ...
    def chat(self, messages, chat_template=None): ...
    def decode(self, tokens): ...
    def stream(self): ...


BYTES = TokenNames(Written("<|end|>", "a", "Ġthe", "ð", "ĠðŁĺ", "Ċ", "ĊĊ", "Ã©", "<end of turn>"))
PIECES = TokenNames(Written("<s>", "<0x0A>", "<0xF0>", "\n", "▁the", "the", "▁", "é"))
PLAIN = TokenNames(TableTokenizer(TableModel()))


@pytest.mark.parametrize(
    ("names", "token", "spelled"),
    [
        (BYTES, 2, b" the"),
        (BYTES, 3, b"\xf0"),
        (BYTES, 4, b" \xf0\x9f\x98"),
        (BYTES, 5, b"\n"),
        (BYTES, 0, b"<|end|>"),
        (BYTES, 8, b"<end of turn>"),
        (PIECES, 1, b"\n"),
        (PIECES, 2, b"\xf0"),
        (PIECES, 4, b" the"),
        (PIECES, 7, "é".encode()),
        (PLAIN, 0, b"a"),
    ],
)
def test_what_a_token_says(names, token, spelled):
    assert names.says(token) == spelled


@pytest.mark.parametrize(
    ("names", "name", "token"),
    [
        (BYTES, " the", 2),
        (BYTES, "Ġthe", 2),  # the piece itself
        (BYTES, "token_id:4", 4),
        (BYTES, "token_id:99", None),
        (BYTES, "bytes:\\xf0", 3),
        (BYTES, "bytes: \\xf0\\x9f\\x98", 4),
        (BYTES, "bytes:a", 1),
        (BYTES, "é", 7),
        (BYTES, "<|end|>", 0),
        (BYTES, "\ufffd", None),
        (BYTES, " \ufffd", None),
        (BYTES, "", None),
        (BYTES, "nothing of it", None),
        (PIECES, "\n", 3),  # not the byte, which says the same
        (PIECES, "<0x0A>", 1),
        (PIECES, " the", 4),
        (PIECES, "▁the", 4),
        (PIECES, "the", 5),
        (PIECES, " ", 6),
    ],
)
def test_whose_name_it_is(names, name, token):
    assert names.of_name(name) == token


def test_half_a_character_is_no_name():
    assert BYTES.of_name("\ud83d") is None


def test_bytes_are_of_a_token():
    assert BYTES.of_bytes(b" \xf0\x9f\x98") == 4
    assert BYTES.of_bytes(b"\xf0\x9f") is None
    assert 8 in BYTES
    assert 9 not in BYTES
    assert BYTES.size == 9


def test_the_text_of_a_row_and_whether_it_is_read_so():
    assert PLAIN.text([7, 4, 11, 11, 14]) == ("hello", True)
    assert PLAIN.text([]) == ("", True)
    split = TokenNames(Written("ab", "a", "b", ab=[0]))
    assert split.text([0]) == ("ab", True)
    assert split.text([1, 2]) == ("ab", False)


def test_a_row_that_ends_inside_a_character_is_no_text():
    assert BYTES.text([1, 3]) == ("a\ufffd", False)


def test_tokens_before_every_text_are_added_by_who_reads_it():
    spaced = {"": [0], "the": [0, 4], " the": [0, 6, 4]}
    names = TokenNames(Written("<s>", "<0x0A>", "<0xF0>", "\n", "▁the", "the", "▁", **spaced))
    assert names.text([0, 4]) == ("the", True)
    assert names.text([0, 6, 4]) == (" the", True)
    assert names.text([4]) == (" the", False)


@pytest.mark.parametrize("source", ["folder", "smollm2-135m"])
def test_a_real_vocabulary_is_named_by_its_own_texts(smollm2, source):
    """Nearly every token is the one that its own text is of; those that end inside a character have no text."""
    names = TokenNames(load_tokenizer(str(smollm2) if source == "folder" else source, lambda sentence: None).tokenizer)
    assert names.size == 49_152
    for token in range(names.size):
        assert names.of_bytes(names.says(token)) == token
        assert names.of_name(f"token_id:{token}") == token
        try:
            text = names.says(token).decode()
        except UnicodeDecodeError:
            continue
        if "\ufffd" not in text:
            assert names.of_name(text) == token


def test_real_rows_become_their_texts(smollm2):
    names = TokenNames(load_tokenizer(str(smollm2), lambda sentence: None).tokenizer)
    tokenizer = load_tokenizer(str(smollm2), lambda sentence: None).tokenizer
    for text in ("<|im_start|>user\nHi there, 1234  é 東京<|im_end|>\n", "  x", "\n\n"):
        assert names.text(tokenizer.encode([text])) == (text, True)
