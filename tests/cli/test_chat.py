"""`lmalgebra chat` as someone types, and over a pipe."""

import pytest

from lmalgebra import api
from lmalgebra.cli.voices import default_voice, with_formula

OPTIONS = ("--model", "toy", "--max-new-tokens", "12")


@pytest.fixture
def chat(lm):
    return lambda text, *options: lm("chat", *OPTIONS, *options, input=text)


@pytest.fixture
def library():
    return api.voice(default_voice("toy"), max_new_tokens=12).chat()


def test_answers_are_the_library_s_and_remember(chat, library):
    said = f"{library.say('hi.')}\n{library.say('hi.')}\n"
    assert chat("hi.\n\nhi.\n").stdout == said


def test_forget_starts_anew(chat, library):
    first, _, again = chat("hi.\n/forget\nhi.\n").stdout.partition(library.say("hi."))
    assert first == ""
    library.forget()
    assert again == f"\n{library.say('hi.')}\n"


def test_quit_ends(chat):
    assert chat(" /quit \nhi.\n").stdout == ""


def test_formula_changes_the_voice_and_keeps_the_memory(chat, library):
    first = library.say("hi.")
    other = api.voice(with_formula(default_voice("toy"), "poet"), max_new_tokens=12).chat()
    other.messages = library.messages
    result = chat("hi.\n/formula poet\nhi.\n")
    assert result.stdout == f"{first}\n{other.say('hi.')}\n"
    assert result.stderr.endswith("poet\n")


def test_formula_alone_shows_the_formula(chat):
    assert chat("/formula\n").stderr.endswith("base\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/formula poe", "error: `poe` is not a term.\n  poe\n  ^^^\nDid you mean `poet`?"),
        ("[/b]", "error: The toy model cannot spell '['. "),
        ("/nope", "There is no command /nope. /formula TEXT changes"),
    ],
)
def test_a_mistake_does_not_end_the_conversation(chat, library, line, told):
    result = chat(f"{line}\nhi.\n")
    assert told in result.stderr
    assert result.stdout.endswith(f"{library.say('hi.')}\n")


def test_an_option_that_cannot_be_is_told_at_once(lm):
    assert lm("chat", *OPTIONS, "--top-p", "2", input="hi.\n", code=2).stderr.splitlines()[-1] == (
        "error: top_p=2.0 is out of range. Give a number above 0 and at most 1."
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--temperature", "0"), "aaa"),
        (("--top-k", "1"), "aaa"),
        (("--top-p", "0.4"), "aaa"),
        (("--min-p", "0.9"), "aaa"),
        (("--temperature", "0", "--max-new-tokens", "2"), "aa"),
        (("--temperature", "0", "--repetition-penalty", "1000"), "abc"),
        (("--temperature", "0", "--repetition-penalty", "1000", "--stop", "b"), "a"),
        (("--temperature", "0", "--formula", "reverse"), "ccc"),
    ],
    ids=" ".join,
)
def test_an_option_decides_the_answer(lm, letters, option, text):
    letters.write_text(letters.read_text().replace("max_new_tokens = 30", "max_new_tokens = 3"))
    assert lm("chat", letters, *option, input="a\n").stdout == f"{text}\n"


def test_seed_and_min_new_tokens(lm, letters):
    answers = {lm("chat", letters, "--seed", seed, input="a\n").stdout for seed in range(6)}
    assert len(answers) == 6
    assert min(map(len, answers)) < 31
    late = {lm("chat", letters, "--seed", seed, "--min-new-tokens", 30, input="a\n").stdout for seed in range(6)}
    assert {len(answer) for answer in late} == {31}
