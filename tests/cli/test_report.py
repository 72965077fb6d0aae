"""`lmalgebra report`: files that stand alone, and mistakes in a sentence."""

import re
import sys

import pytest

from cli.test_explain import Reader
from evaluation.results import voice, written
from lmalgebra.cli.report_page import page
from lmalgebra.evaluation.reports.blocks import Code, Figure, Listing, Paragraph, Section, Table

EVIL = "</section><script>alert('@STYLE@')</script><b onload=x>&amp;"


@pytest.fixture
def results(tmp_path):
    costs = [{"seconds_per_token": 0.01 * place, "relative": place} for place in (1, 2)]
    written(tmp_path / "a.json", voice("plain", cost=costs[0]), voice("union", 0.4, cost=costs[1]))
    return "a.json"


def test_the_files_are_written(lm, results, tmp_path):
    told = lm("report", results, "--output", "out").stderr
    assert told == "Wrote out/report.html, out/report.md and 2 plots.\n"
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    plots = re.findall(r"^!\[.*\]\((.*\.png)\)$", text, re.MULTILINE)
    assert len(plots) == 2
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"report.md", "report.html", *plots}
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in plots)
    assert "| union | **0.4" in text


def test_the_page_needs_nothing_from_elsewhere(lm, results, tmp_path):
    lm("report", results)
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    reader = Reader(text)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "base", "script", "image")
        assert not {"src", "href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\((?!#)|@import|https?:", text)
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert text.count("<svg") == 2


def test_the_same_results_make_the_same_files(lm, results, tmp_path):
    for folder in ("one", "two"):
        lm("report", results, "--output", folder)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_the_page_shows_text_as_text():
    blocks = [
        Paragraph(EVIL),
        Listing([EVIL]),
        Table([EVIL], [[EVIL], [f"1 (0 to {EVIL})"]], frozenset({(0, 0)})),
        Code(EVIL),
        Figure("x", EVIL),
    ]
    reader = Reader(page(EVIL, [Section(EVIL, blocks)], {"x": "<svg></svg>"}))
    assert "script" not in [tag for tag, _ in reader.tags]
    assert not any("onload" in attributes for _, attributes in reader.tags)
    assert sum(EVIL in each for each in reader.texts) >= 8


def test_the_first_voice_can_be_chosen(lm, results, tmp_path):
    lm("report", results, "--baseline", "union")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "plain has a higher expected maximum toxicity by profanity than union" in text


def test_mistakes_are_told(lm, results, tmp_path, monkeypatch):
    assert lm("report", "none.json", code=2).stderr.startswith("error: There is no result 'none.json'.")
    (tmp_path / "file").write_text("")
    told = lm("report", results, "--output", "file", code=2).stderr
    assert told.startswith("error: The report 'file' cannot be written: file exists.")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told = lm("report", results, code=2).stderr
    assert told == "error: Plots need the package 'matplotlib'. Install it: pip install 'lmalgebra[plots]'.\n"
