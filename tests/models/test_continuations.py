"""Texts with a candidate added, read from a short tail: the same as decoding each whole."""

import random

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lmalgebra.models.vocabulary import HuggingFaceTokenizer

TEXTS = (
    "héllo 🙂🙂 世界 and so on",
    "👩‍👩‍👧‍👦 family, naïve café, שלום",
    "   spaces   and\r\nlines",
    "it is n't so , is it ?",
)


def sentence_pieces() -> PreTrainedTokenizerFast:
    """As Llama's: a space is a mark before a word, rare characters are bytes, a text's first space is dropped."""
    words = ["▁the", "▁cat", "▁", "s", "at", "▁a", "n", "é", "▁▁", "<end>"]
    pieces = ["<unk>", *[f"<0x{byte:02X}>" for byte in range(256)], *words]
    inner = Tokenizer(models.BPE({piece: token for token, piece in enumerate(pieces)}, [], byte_fallback=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>")


def word_pieces() -> PreTrainedTokenizerFast:
    """As BERT's: pieces within a word begin with ##, and spaces before punctuation are cleaned away."""
    words = ["[UNK]", "it", "##s", "is", "n", "'", "t", "so", ",", ".", "?", "##ing", "do", "not", "[SEP]"]
    inner = Tokenizer(models.WordPiece({word: token for token, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", sep_token="[SEP]", clean_up_tokenization_spaces=True
    )


def checked(tokenizer: HuggingFaceTokenizer, tokens: list[int], candidates: list[int]) -> None:
    assert tokenizer.continuations(tokens, candidates) == [tokenizer.decode([*tokens, each]) for each in candidates]


def wrapped(tokenizer) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(tokenizer, frozenset(), "test")


@pytest.mark.parametrize("make", [sentence_pieces, word_pieces])
@pytest.mark.parametrize("seed", range(30))
def test_random_tokens(make, seed):
    tokenizer, draw = wrapped(make()), random.Random(seed)
    size = len(tokenizer.vocabulary)
    share_of_bytes = draw.choice([0.1, 0.9])
    first = 257 if make is sentence_pieces else 0

    def token() -> int:
        return draw.randrange(size) if draw.random() < share_of_bytes else draw.randrange(first, size)

    tokens = [token() for _ in range(draw.choice([0, 1, 5, 30, 120]))]
    checked(tokenizer, tokens, [token() for _ in range(40)])


@pytest.mark.parametrize("character", ["€", "🙂", "é"])
def test_a_character_that_arrives_byte_by_byte(character):
    tokenizer = wrapped(sentence_pieces())
    spelled = [1 + byte for byte in character.encode()]
    words = [tokenizer.vocabulary["▁the"]] * 9
    for count in range(len(spelled)):
        checked(tokenizer, [*words, *spelled, *spelled[:count]], [*spelled, words[0], 1 + 0x41])


@pytest.fixture(scope="module")
def real(smollm2) -> HuggingFaceTokenizer:
    return wrapped(AutoTokenizer.from_pretrained(smollm2))


@pytest.mark.parametrize("text", TEXTS)
def test_real_texts(real, text):
    tokens, draw = real.encode([text * 3]), random.Random(text)
    for end in range(0, len(tokens), 3):
        checked(real, tokens[:end], [*tokens[end : end + 1], *(draw.randrange(49_152) for _ in range(30))])


@pytest.mark.parametrize("seed", range(10))
def test_tokens_of_a_real_tokenizer_that_make_no_sense(real, seed):
    draw = random.Random(seed)
    tokens = [draw.randrange(49_152) if draw.random() < 0.5 else draw.randrange(17, 273) for _ in range(60)]
    for end in (0, 1, 4, 5, 20, 60):
        checked(real, tokens[:end], [draw.randrange(600) for _ in range(30)])


def test_only_the_end_is_read_for_each_candidate(real, monkeypatch):
    tokens = real.encode(["The quick brown fox jumps over the lazy dog. " * 40])
    lengths = []
    decode = real.decode
    monkeypatch.setattr(real, "decode", lambda each: lengths.append(len(each)) or decode(each))
    real.continuations(tokens, list(range(500, 550)))
    assert sorted(lengths)[-3] < 12
