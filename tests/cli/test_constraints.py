"""Constraints on the command line."""

import pytest

from cli.conftest import samples


def test_check_says_what_constraints_hold(lm, letters):
    text = letters.read_text().replace('"letters"', '"letters + shape + polite + words"', 1)
    text += '[terms.shape]\nregex = "[ab]+"\n[terms.polite]\nforbid = ["c", "b a"]\n'
    letters.write_text(text + '[terms.words]\nrequire = ["a"]\nordered = true\n')
    shown = lm("check", letters).stdout
    assert "  shape: regex '[ab]+'\n" in shown
    assert "  polite: forbid 'c', 'b a'\n" in shown
    assert "  words: require 'a', ordered true\n" in shown


def test_run_and_check_load_constraints(lm, letters):
    letters.write_text(
        letters.read_text().replace('"letters"', '"letters + shape"', 1) + '[terms.shape]\nregex = "ab*c"\n'
    )
    result = lm("run", letters, "--prompt", "a", "--samples", 20, "--speculate", "letters:3", "--json")
    texts = {sample["text"] for sample in samples(result.stdout) if sample["finish_reason"] == "end"}
    assert texts
    assert all(text == "a" + "b" * (len(text) - 2) + "c" for text in texts)
    lm("check", letters, "--load")
    letters.write_text(letters.read_text().replace("ab*c", "(ab"))
    assert "regex='(ab' cannot be used: unclosed group" in lm("check", letters, "--load", code=2).stderr


@pytest.mark.parametrize(
    ("constraint", "told"),
    [
        ('json_schema = {type = "integer", minimum = 5, maximum = 3}', 'json_schema=\'{"type": "integer", "minimum": '),
        ('json_schema = {allOf = [{type = "string"}, {type = "integer"}]}', 'json_schema=\'{"allOf": [{"type": "strin'),
        ('json_schema = {const = "d"}', "No token is possible: `shape` forbids every token that is left."),
        ('json_schema = "person.json"', "letters.toml: [terms.shape]: There is no file 'person.json'. Check the path."),
        ('regex = "[d-z]+"', "No token is possible: `shape` forbids every token that is left. Loosen it, or remove it"),
        ('require = ["dog"]', "The required word 'dog' cannot be spelled with the tokens of '"),
        (
            f'require = ["{"ab" * 20}"]',
            f"The required words '{'ab' * 20}' need 40 tokens, but the text may have only 30.",
        ),
    ],
)
def test_a_constraint_that_cannot_be_met_ends_in_a_sentence(lm, letters, constraint, told):
    text = letters.read_text().replace('"letters"', '"letters + shape"', 1)
    letters.write_text(f"{text}[terms.shape]\n{constraint}\n")
    for more in ((), ("--json",)):
        done = lm("run", letters.name, "--prompt", "a", *more, code=2)
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: {told}")
        assert done.stderr.count("\n") == 1
