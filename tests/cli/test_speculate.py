"""`--speculate` and `--draft`: who drafts, what is reported, and what is refused."""

import pytest

from cli.conftest import samples

ASK = ("--prompt", "ab", "--json", "--formula", "letters + 0.5 * (reverse - letters)")


def texts(result):
    return [sample["text"] for sample in samples(result.stdout)]


@pytest.mark.parametrize("spec", ["letters:3", "prompt:4", "auto", "reverse:2 > letters,reverse:4"])
def test_a_part_of_the_formula_drafts_and_the_report_says_how_it_went(lm, letters, spec):
    done = lm("run", letters, *ASK, "--samples", 6, "--speculate", spec)
    assert len(texts(done)) == 6
    assert "Speculation: " in done.stderr
    assert "Calls per token: " in done.stderr


def test_without_it_nothing_is_reported(lm, letters):
    assert "Speculation" not in lm("run", letters, *ASK).stderr
    assert "Speculation" not in lm("run", letters, *ASK, "--speculate", "off").stderr


@pytest.mark.parametrize("spec", ["letters:3", "prompt:4", "reverse:1"])
def test_the_likeliest_text_stays_as_it_is(lm, letters, spec):
    plain = lm("run", letters, *ASK, "--temperature", 0)
    assert texts(lm("run", letters, *ASK, "--temperature", 0, "--speculate", spec)) == texts(plain)


def test_a_draft_formula_drafts_by_itself_and_by_name(lm, letters):
    for more in ((), ("--speculate", "draft:2")):
        done = lm("run", letters, "--prompt", "ab", "--draft", "power(reverse, 2)", *more)
        assert "draft by all" in done.stderr
        assert "reverse" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--speculate", "nobody:3"), "The speculation names 'nobody', which is no term of the formula"),
        (("--speculate", "letters:0"), "The stage 'letters:0' drafts 0 tokens at once. Give 1 to 64."),
        (("--speculate", "letters:"), "'letters:' is not a stage of speculation. Write off, auto, or stages such as"),
        (("--speculate", "draft:3"), "names the stage 'draft', but no draft formula is given"),
        (
            ("--speculate", "off", "--draft", "reverse"),
            "'off' does not use the draft formula `reverse`. Name the stage",
        ),
        (("--speculate", "letters:2", "--draft", "reverse"), "'letters:2' does not use the draft formula `reverse`."),
        (("--draft", "letters +"), "letters +"),
        (("--draft", "reverse - letters"), "has mass 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_before_anything_loads(lm, letters, options, sentence):
    refused = lm("run", letters, *ASK, *options, code=2)
    assert sentence in " ".join(refused.stderr.split())
    assert "Loading" not in refused.stderr
    assert refused.stdout == ""


def test_a_chat_speculates_too(lm, letters):
    done = lm("chat", letters, "--speculate", "letters:2", input="ab\n/quit\n")
    assert done.stdout.strip()
    assert done.stderr.splitlines()[-1].startswith("Speculation: ")
