"""A real tokenizer over the smallest of sessions."""

import pytest
from together import Models, recorded_toys, speaker
from transformers import AutoTokenizer
from voices import STEERED

from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.table import TableModel, TableSession
from lmalgebra.models.vocabulary import HuggingFaceTokenizer


@pytest.fixture(scope="session")
def real_tokenizer(smollm2):
    return AutoTokenizer.from_pretrained(smollm2)


@pytest.fixture
def chatty(real_tokenizer) -> LanguageModel:
    """The real tokenizer, which has a chat template."""
    tokenizer = HuggingFaceTokenizer(real_tokenizer, frozenset([real_tokenizer.eos_token_id]), "chatty")
    return LanguageModel("chatty", TableSession(TableModel()), tokenizer)


@pytest.fixture
def plain(smollm2) -> LanguageModel:
    """The same as a base model has it: without a chat template."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    tokenizer.chat_template = None
    return LanguageModel("plain", TableSession(TableModel()), HuggingFaceTokenizer(tokenizer, frozenset([2]), "plain"))


@pytest.fixture
def models() -> Models:
    """Exact toys whose sessions keep a record, for the terms of `STEERED`."""
    return recorded_toys()


@pytest.fixture
def steered(models) -> ComposedVoice:
    return speaker(STEERED, models)
