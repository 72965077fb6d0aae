"""Plots: regions by hand, and files that hold what they should."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation.results import PERPLEXITY, TOXIC, voice, written
from lmalgebra.cli import pages
from lmalgebra.errors import MissingExtraError
from lmalgebra.evaluation.reports import plots
from lmalgebra.evaluation.reports.outcomes import curves_of, read_outcomes

UPWARDS, ACROSS = (TOXIC, "expected_maximum"), (PERPLEXITY, "per_token")


@pytest.fixture
def outcomes(tmp_path):
    return lambda *voices: read_outcomes([written(tmp_path / "a.json", *voices)])


def test_the_ellipse_of_normal_draws_is_the_textbooks():
    # Two independent deviations: 95 % lie within the square root of 5.991. 20,000 draws: within 2 %.
    draws = np.random.default_rng(0).normal(0, [1, 3], (20_000, 2))
    distances = np.sqrt(((plots.ellipse(draws, 1 << 30) / [1, 3]) ** 2).sum(axis=1))
    assert np.abs(distances / np.sqrt(5.991) - 1).max() < 0.04
    inside = ((draws / [1, 3]) ** 2).sum(axis=1) < 5.991
    assert abs(inside.mean() - 0.95) < 0.01


def test_the_ellipse_of_few_prompts_is_wider():
    draws = np.random.default_rng(0).normal(0, 1, (2000, 2))
    assert np.abs(plots.ellipse(draws, 10)).max() > 1.15 * np.abs(plots.ellipse(draws, 1000)).max()
    assert plots.ellipse(draws, 9) is None


def test_the_ellipse_keeps_to_values_that_there_can_be():
    draws = np.abs(np.random.default_rng(0).normal(0, 1, (2000, 2)))
    assert plots.ellipse(draws, 100).min() == draws.min()


def test_there_is_no_ellipse_of_a_line():
    line = np.linspace(0, 1, 100)
    assert plots.ellipse(np.stack([line, 2 * line], axis=1), 50) is None
    assert plots.ellipse(np.full((100, 2), np.nan), 50) is None
    assert plots.ellipse(np.random.default_rng(0).normal(0, 1, (100, 2)), 9) is None


def test_voices_with_one_prompt_or_no_variation_are_drawn(tmp_path, outcomes):
    still = voice("still")
    for each in still["metrics"][TOXIC].values():
        each["numerators"] = [0.5] * 40
    assert plots.png(plots.plane(outcomes(voice("plain"), still), ACROSS, UPWARDS))[:4] == b"\x89PNG"
    (alone,) = read_outcomes([written(tmp_path / "b.json", voice("plain", count=1), ids=["x"])])
    assert plots.png(plots.plane([alone], ACROSS, UPWARDS))[:4] == b"\x89PNG"


def test_a_plane_names_its_voices_and_axes(outcomes):
    names = ["a$b$", "_hidden", "<script>", "平"]
    figure = plots.plane(outcomes(*map(voice, names)), ACROSS, UPWARDS)
    texts = [each.get_text() for each in figure.legends[0].get_texts()]
    assert texts == names
    assert figure.axes[0].get_xscale() == "log"
    text = plots.svg(figure, "one")
    assert "a$b$" in text
    assert "<script>" not in text
    assert plots.png(figure)


def test_a_curve_is_one_line_of_its_weights(outcomes):
    voices = [
        voice(f"u{weight}", 0.5 - weight / 4, curve={"name": "union", "weight": weight}) for weight in (1, 0, 0.5)
    ]
    found = outcomes(*voices)
    (line,) = plots.curves(curves_of(found), UPWARDS).axes[0].lines
    assert line.get_xdata().tolist() == [0, 0.5, 1]
    assert np.all(np.diff(line.get_ydata()) < 0)
    figure = plots.plane(found, ACROSS, UPWARDS)
    assert [len(each.get_xdata()) for each in figure.axes[0].lines].count(3) == 1
    assert [each.get_text() for each in figure.legends[0].get_texts()] == ["union"]


def test_an_svg_stands_in_a_page_in_its_colours(outcomes):
    figure = plots.plane(outcomes(voice("plain"), voice("union")), ACROSS, UPWARDS)
    text = plots.svg(figure, "mine")
    assert not re.search(r"http|<style|<metadata|<!DOCTYPE", text)
    assert "var(--ink)" in text
    assert "var(--term-1)" in text
    ids, used = re.findall(r' id="([^"]*)"', text), re.findall(r'(?:url\(|href=")#([^")]*)', text)
    assert len(ids) == len(set(ids))
    assert set(used) <= set(ids)
    assert all(each.startswith("mine-") for each in ids)
    ElementTree.fromstring(text.replace("xlink:", ""))


def test_a_pages_style_has_the_colours_of_plots():
    light = pages.shared("page.css").split("@media")[0]
    for colour, name in plots._NAMES.items():
        assert f"{name}: {colour};" in light


def test_bars_have_their_names():
    figure = plots.bars({"plain": 1.0, "union": 2.0}, "milliseconds per token")
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["plain", "union"]


def test_without_matplotlib_a_sentence_names_the_extra(monkeypatch, outcomes):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lmalgebra\[plots\]'"):
        plots.bars({"a": 1.0}, "x")
