"""Every tokenizer says which bytes a token has: put together they are the text, wherever it is cut."""

import random
import re
from functools import cache

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lmalgebra.errors import ModelError
from lmalgebra.models.loading import load
from lmalgebra.models.table import TableModel, TableTokenizer
from lmalgebra.models.vocabulary import HuggingFaceTokenizer

NAMES = ("table", "byte-level", "SentencePiece", "llama.cpp")


@pytest.fixture(params=NAMES, name="tokenizer")
def each_tokenizer(request):
    if request.param == "table":
        return TableTokenizer(TableModel())
    if request.param == "SentencePiece":
        return sentencepiece()
    folder = request.getfixturevalue("smollm2")
    if request.param == "llama.cpp":
        pytest.importorskip("llama_cpp")
        return llama_cpp().tokenizer
    return HuggingFaceTokenizer(AutoTokenizer.from_pretrained(folder), frozenset([2]), "smol")


@cache
def llama_cpp():
    return load("smollm2-135m", engine="llamacpp", max_cache_tokens=4096)


def sentencepiece(decoder: decoders.Decoder | None = None) -> HuggingFaceTokenizer:
    """A few pieces, written as Llama 2 and Gemma write them."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "é", "▁▁"]
    inner = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>")
    )
    inner.decoder = decoder or decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    inner.add_tokens([AddedToken("<tool>", special=False)])
    return HuggingFaceTokenizer(PreTrainedTokenizerFast(tokenizer_object=inner), frozenset([2]), "tiny")


def plain(text: str) -> str:
    """How many marks stand for bytes that are no character is each library's own affair."""
    return re.sub("\ufffd+", "\ufffd", text)


def is_all_or_nothing(tokenizer) -> bool:
    """Whether one byte that is out of place spoils the bytes beside it."""
    return "<0x00>" in tokenizer.vocabulary


def test_the_pieces_put_together_are_the_text(tokenizer):
    draw = random.Random(0)
    size = len(tokenizer.vocabulary)
    rare = [token for token in range(size) if not tokenizer.piece(token).isascii()]
    for _ in range(300):
        some = [draw.choice(rare) if rare and draw.random() < 0.3 else draw.randrange(size) for _ in range(12)]
        some = [token for token in some if token not in tokenizer.end_tokens]
        said = b"".join(map(tokenizer.piece, some)).decode(errors="replace")
        if "\ufffd" not in said or not is_all_or_nothing(tokenizer):
            assert plain(said) == plain(tokenizer.decode(some)), some


def test_a_text_is_made_of_the_pieces_of_its_tokens(tokenizer):
    texts = ("a b", "ab") if len(tokenizer.vocabulary) < 400 else ("naïve 日本 👩‍👩‍👧 a\n\n  b", "x = 1,234")
    for text in texts:
        tokens = tokenizer.encode([text], start=False)
        assert b"".join(map(tokenizer.piece, tokens)).decode() == text


def test_control_tokens_and_what_is_no_token_say_nothing(tokenizer):
    assert {tokenizer.piece(token) for token in tokenizer.end_tokens} == {b""}


def test_added_tokens_that_are_no_control_tokens_say_what_they_are():
    tokenizer = sentencepiece()
    assert tokenizer.piece(tokenizer.vocabulary["<tool>"]) == b"<tool>"
    assert tokenizer.piece(tokenizer.vocabulary["<s>"]) == b""
    assert tokenizer.piece(10_000) == b""


def test_an_unknown_kind_of_tokenizer_is_refused():
    with pytest.raises(ModelError, match=r"The tokenizer of 'tiny' does not say which bytes a token has"):
        sentencepiece(decoders.WordPiece()).piece(5)
