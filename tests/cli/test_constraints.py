"""Constraints on the command line."""

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
