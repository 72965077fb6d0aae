"""`lmalgebra explain`: in the terminal, as JSON and as a page that shows text as text."""

import json
import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from lmalgebra import api
from lmalgebra.cli.explain_page import page
from lmalgebra.cli.explain_text import show
from lmalgebra.cli.explain_view import nats, share, visible
from lmalgebra.cli.voices import default_voice, with_formula
from lmalgebra.decoding import Alternative, ExplainedToken, Explanation

TOY = ("explain", "--model", "toy", "--prompt", "hi.", "--formula", "base + 2 * (poet - base)", "--max-new-tokens", "9")
EVIL = "</script><script>alert('@DATA@')</script><b onload=x>&amp;\u2028"


def explanation(text: str = "ho", change: float = 2.0, terms: tuple[str, ...] = ("poet", "child")) -> Explanation:
    parts = {term: change / len(terms) for term in terms}
    top = (Alternative(1, text, 0.75), Alternative(2, " ", 0.125))
    token = ExplainedToken(7, text, text or "<end>", -5.0, -5.0 - change, parts, 1234, top)
    still = ExplainedToken(8, "", "<end>", -0.5, -0.5, dict.fromkeys(terms, 0.0), 1, top)
    return Explanation(text, "base + 1 * poet", "base", terms, "shapley", (token, still))


class Reader(HTMLParser):
    """The tags of a page with their attributes, and the texts of the elements that users see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._silent = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.texts.append(data)


def test_json_is_what_the_library_says(lm):
    plain = json.loads(lm(*TOY, "--json").stdout)
    voice = with_formula(default_voice("toy"), "base + 2 * (poet - base)")
    assert plain == api.voice(voice, max_new_tokens=9).explain("hi.").to_json()


def test_a_given_continuation_and_reference(lm):
    plain = json.loads(lm(*TOY[:7], "--continuation", "yo.", "--reference", "poet", "--json").stdout)
    assert (plain["text"], plain["reference"], plain["terms"], plain["sampling"]) == ("yo.", "poet", ["base"], None)


def test_the_terminal_shows_text_totals_and_a_table(lm):
    shown = lm(*TOY).stdout
    plain = json.loads(lm(*TOY, "--json").stdout)
    assert shown.startswith("base + 2 * (poet - base)\nAgainst base, in nats over 9 tokens:  poet ")
    assert plain["text"] in shown
    most = max(plain["tokens"], key=lambda token: abs(token["change"]))
    rows = [line.split() for line in shown.splitlines() if re.match(r" *\d+ ", line)]
    assert rows[0][0] == str(1 + plain["tokens"].index(most))
    assert nats(most["change"]) in rows[0]
    assert "(its Shapley value)" in shown
    assert "Drawn with temperature 1.0, seed 0." in shown


@pytest.mark.parametrize(("width", "shows"), [(70, False), (140, True)])
def test_a_narrow_terminal_gets_less(width, shows):
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system=None)
    show(explanation(), console)
    lines = console.file.getvalue().splitlines()
    assert ("␣ 12 %" in console.file.getvalue()) is shows
    assert max(map(len, lines[2:])) <= width


def test_a_text_that_nothing_moved():
    console = Console(width=100, file=StringIO())
    show(explanation(change=0.1), console)
    assert "No token was moved by 0.5 nats or more." in console.file.getvalue()
    assert "No token was moved by 0.5 nats or more." in page(explanation(change=0.1))


def test_the_page_is_written(lm, tmp_path):
    result = lm(*TOY, "--html", "page.html")
    assert (result.stdout, result.stderr) == ("", "Wrote page.html.\n")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    said = json.loads(lm(*TOY, "--json").stdout)
    spans = re.findall(r'data-at="\d+" tabindex="0" aria-label="[^"]*">', text)
    assert len(spans) == len(said["tokens"])


def test_the_page_needs_nothing_from_elsewhere():
    reader = Reader(page(explanation()))
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert not {"src", "href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|https?:", page(explanation()))


def test_the_page_shows_text_as_text():
    text = page(explanation(EVIL))
    reader = Reader(text)
    assert [tag for tag, _ in reader.tags].count("script") == 2
    assert not any("onload" in attributes for _, attributes in reader.tags)
    assert any(EVIL in each for each in reader.texts)
    assert text.count("</script>") == 2
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["tokens"][0]["visible"] == EVIL


def test_the_page_draws_what_the_numbers_say():
    text = page(explanation(change=-4.0))
    assert '<span class="t moved down" style="--c: var(--term-0); --s: 38%" data-at="0"' in text
    assert f"ho: 0.67 %, base 37 %, change {nats(-4)} nats (poet {nats(-2)}, child {nats(-2)})" in text
    assert text.count('<rect class="bar"') == 4
    assert 'class="t quiet" data-at="1"' in text


def test_a_formula_of_one_term_has_no_parts():
    text = page(explanation(terms=()))
    assert text.count('<rect class="bar"') == 0
    assert "against <b>base</b>" in text


@pytest.mark.parametrize(
    ("text", "shown"), [(" a", "␣a"), ("a ", "a␣"), ("  ", "␣␣"), ("\n\n", "⏎⏎"), ("\t", "⇥"), ("a b", "a b")]
)
def test_spaces_and_line_breaks_are_seen(text, shown):
    assert visible(text) == shown


def test_numbers_in_words():
    assert [share(each) for each in (0.0, -3.0, -6.0, -50.0)] == ["100 %", "5 %", "0.25 %", "<0.01 %"]
    assert [nats(each) for each in (1.234, -0.5, 0.0)] == ["+1.23", "\N{MINUS SIGN}0.50", "+0.00"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--reference", "nobody"],
            "The reference `nobody` is not a term of `base + 2 * (poet - base)`. Language models",
        ),
        (["--continuation", ""], "The continuation is empty."),
        (
            ["--continuation", "x", "--seed", "1"],
            "A continuation that is given is not sampled, so seed would",
        ),
        (["--html", "none/page.html"], "The page 'none/page.html' cannot be written: there is no such folder."),
        (["--html", "."], "The page '.' cannot be written: is a directory."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(lm, arguments, told):
    assert lm(*TOY[:7], *arguments, code=2).stderr.startswith(f"error: {told}")


def test_it_needs_a_prompt(lm):
    assert lm("explain", "--model", "toy", code=2).stderr.startswith("error: There is no prompt. Add --prompt TEXT")


def test_eighty_columns_hold_two_terms():
    said = StringIO()
    show(explanation("grand", terms=("toxic", "classifier")), Console(file=said, width=80))
    lines = [line.split() for line in said.getvalue().splitlines()]
    assert ["at", "token", "formula", "base", "change", "toxic", "classifier", "base", "would", "say"] in lines
    assert ["1", "grand", "0.67", "%", "0.09", "%", "+2.00", "+1.00", "+1.00", "grand", "75", "%"] in lines


def test_parts_that_do_not_fit_into_columns_are_told_one_after_another():
    terms = ("expert", "antiexpert", "liked", "polite", "toxic", "words")
    said = StringIO()
    show(explanation(" grandmother", terms=terms), Console(file=said, width=80))
    table = " ".join(said.getvalue().partition("The most moved")[2].split())
    assert "parts" in table
    assert "…" not in table
    for term in terms:
        assert f"{term} +0.33" in table
