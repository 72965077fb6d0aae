"""A conversation with memory, in which each term keeps a system prompt of its own."""

import pytest
from transformers import LlamaConfig, LlamaForCausalLM
from voices import open_rows, watched

from lmalgebra.algebra import GenerationSettings, Model, Voice
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.loading import session_of

SYSTEMS = {"base": "You are helpful.", "formal": "You answer formally."}


@pytest.fixture
def speaker(chatty) -> ComposedVoice:
    """Two system prompts over one random network with the real tokenizer."""
    config = LlamaConfig(
        vocab_size=49152, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    session = session_of(LlamaForCausalLM(config), "tiny")
    weights = watched(LanguageModel("tiny", session, chatty.tokenizer))
    model = Model("tiny")
    base, formal = (model.term(name=name, system=system) for name, system in SYSTEMS.items())
    described = Voice(base + 0.6 * (formal - base), GenerationSettings(max_new_tokens=8, seed=3))
    return ComposedVoice(described, lambda _: weights)


@pytest.fixture
def told(monkeypatch, speaker):
    """What each term was given to read, as text, at each prompt."""
    session = next(iter(speaker.loaded.sessions.values()))
    read, extend = [], session.extend

    def listen(tokens, wanted=None):
        read.extend(speaker.loaded.tokenizer._tokenizer.decode(new) for new in tokens.values() if len(new) > 1)
        return extend(tokens, wanted)

    monkeypatch.setattr(session, "extend", listen)
    return read


def test_a_chat_tells_each_term_the_whole_conversation_under_its_own_system_prompt(speaker, told):
    chat = speaker.chat()
    first = chat.say("Hello.")
    chat.say("And now?")
    assert len(told) == 4
    for text, system in zip(told[:2], SYSTEMS.values(), strict=True):
        assert text.startswith(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHello.<|im_end|>")
    asked = "<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"
    for text in told[2:]:  # what was said before is not read again
        assert text.endswith(asked)
        assert (first + asked).endswith(text)


def test_a_chat_remembers_what_both_said(speaker):
    chat = speaker.chat()
    answers = [chat.say(text) for text in ("Hello.", "And now?")]
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2
    assert [message["content"] for message in chat.messages] == ["Hello.", answers[0], "And now?", answers[1]]


def test_a_chat_keeps_its_rows_until_it_forgets_or_is_gone(speaker):
    chat = speaker.chat()
    chat.say("Hello.")
    assert open_rows(speaker) == 2
    chat.forget()
    assert open_rows(speaker) == 0
    chat.say("Hello.")
    del chat
    assert open_rows(speaker) == 0


def test_a_chat_answers_as_generating_after_the_whole_conversation_does(speaker):
    chat = speaker.chat()
    chat.say("Hello.")
    asked = (*chat.messages, {"role": "user", "content": "And now?"})
    assert chat.say("And now?") == speaker.generate(asked, seed=3 + 2).text


def test_a_chat_that_forgets_starts_anew(speaker):
    chat = speaker.chat()
    first = chat.say("Hello.")
    chat.forget()
    assert chat.messages == ()
    assert chat.say("Hello.") == first


def test_an_answer_that_is_not_read_to_its_end_is_remembered_as_far_as_it_was(speaker):
    chat = speaker.chat(max_new_tokens=40)
    stream = chat.stream("Hello.")
    said = next(stream) + next(stream)
    stream.close()
    assert chat.messages[-1] == {"role": "assistant", "content": said}
    assert open_rows(speaker) == 0


def test_a_refused_question_is_not_remembered(speaker):
    chat = speaker.chat()
    chat.say("Hello.")
    before = chat.messages
    with pytest.raises(Exception, match="The prompt is empty"):
        chat.say("")
    assert chat.messages == before
