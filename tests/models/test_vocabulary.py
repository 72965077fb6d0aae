"""A real Hugging Face tokenizer: text that streams in whole characters, and quoted text without control tokens."""

import random

import pytest
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizer

from lmalgebra.errors import ModelError
from lmalgebra.models.base import Quoted, vocabulary_difference
from lmalgebra.models.vocabulary import HuggingFaceTokenizer

TEXTS = (
    "héllo 🙂🙂 世界",
    "👩‍👩‍👧‍👦 family, naïve café, Ωμέγα, שלום, ไทย",
    "def f(x):\n\treturn x  # ok\n\n",
    "   spaces   and\r\nlines",
    "½ ﬁ e\u0301 \U0001d518\U0001d52b",
)


@pytest.fixture(scope="module")
def theirs(smollm2):
    return AutoTokenizer.from_pretrained(smollm2)


@pytest.fixture(scope="module")
def tokenizer(theirs) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(theirs, frozenset([theirs.eos_token_id]), "smol")


def streamed(tokenizer, tokens) -> list[str]:
    stream = tokenizer.stream()
    return [*(stream.push(token) for token in tokens), stream.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_streamed_pieces_put_together_are_the_text_and_split_no_character(tokenizer, text):
    pieces = streamed(tokenizer, tokenizer.encode([text]))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert max(map(len, pieces)) < len(text)


def test_characters_of_several_tokens_are_in_the_test(tokenizer):
    assert any("\ufffd" in tokenizer.decode([token]) for token in tokenizer.encode([TEXTS[0]]))


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_breaks_off_streams_as_it_decodes(tokenizer, text):
    tokens = tokenizer.encode([text])
    for count in range(len(tokens)):
        pieces = streamed(tokenizer, tokens[:count])
        assert "".join(pieces) == tokenizer.decode(tokens[:count])
        assert not any("\ufffd" in piece for piece in pieces[:-1])


@pytest.mark.parametrize("seed", range(20))
def test_tokens_that_make_no_sense_stream_as_they_decode(tokenizer, seed):
    draw = random.Random(seed)
    tokens = [draw.randrange(49_152) if draw.random() < 0.6 else draw.randrange(17, 273) for _ in range(40)]
    assert "".join(streamed(tokenizer, tokens)) == tokenizer.decode(tokens)


def test_control_tokens_are_not_shown(tokenizer):
    tokens = tokenizer.encode(["a<|im_end|>b"])
    assert tokenizer.decode(tokens) == "ab"
    assert "".join(streamed(tokenizer, tokens)) == "ab"


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_text_without_control_tokens_reads_as_it_would_alone(tokenizer, theirs, text):
    assert tokenizer.encode([Quoted(text)]) == theirs(text).input_ids == tokenizer.encode([text])


def test_control_tokens_count_in_an_authors_text_and_not_in_quoted_text(tokenizer, theirs):
    end = theirs.convert_tokens_to_ids("<|im_end|>")
    tokens = tokenizer.encode(["<|im_end|>", Quoted("<|im_end|>"), "<|im_end|>"])
    assert [token for token in tokens if token == end] == [end, end]
    assert (tokens[0], tokens[-1]) == (end, end)
    assert theirs.decode(tokens) == "<|im_end|>" * 3


def test_a_text_that_spells_a_control_token_is_noticed(tokenizer):
    assert tokenizer.has_control("say <|im_start|> to me")
    assert not tokenizer.has_control("say <|im_sta rt|> to me")


def test_the_vocabulary_is_every_piece_and_its_id(tokenizer, theirs):
    assert len(tokenizer.vocabulary) == 49_152
    assert tokenizer.vocabulary["<|im_end|>"] == theirs.convert_tokens_to_ids("<|im_end|>")


def test_two_tokenizers_of_one_model_have_no_difference(tokenizer, smollm2):
    twin = HuggingFaceTokenizer(AutoTokenizer.from_pretrained(smollm2), frozenset(), "twin")
    assert vocabulary_difference(tokenizer, twin) == ""


def test_a_token_that_was_added_is_a_difference(tokenizer, smollm2):
    other = AutoTokenizer.from_pretrained(smollm2)
    other.add_tokens(["<|new|>"])
    longer = HuggingFaceTokenizer(other, frozenset(), "longer")
    assert vocabulary_difference(tokenizer, longer) == "49,152 tokens against 49,153"


def test_another_way_to_split_text_is_a_difference(tokenizer, smollm2):
    other = AutoTokenizer.from_pretrained(smollm2)
    other.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    split = HuggingFaceTokenizer(other, frozenset(), "split")
    assert vocabulary_difference(tokenizer, split) == "after '' one reads the token 'It' and the other ' It'"
    other.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    assert vocabulary_difference(tokenizer, split).startswith('after "It\'s 12,345 naïve café notes:" one reads')


class _Slow(PreTrainedTokenizer):
    """A tokenizer without the `tokenizers` library."""

    def get_vocab(self) -> dict[str, int]:
        return {}

    @property
    def vocab_size(self) -> int:
        return 0


def test_a_tokenizer_without_a_tokenizer_file_is_refused():
    with pytest.raises(
        ModelError, match=r"The tokenizer of 'old' has no tokenizer.json. Save it once with Transformers'"
    ):
        HuggingFaceTokenizer(_Slow(), frozenset(), "old")
