"""The page about formulas holds only formulas and voice files that work, and that about constraints such files."""

import re
from pathlib import Path

import pytest

from lmalgebra.algebra import check, parse, parse_voice

PAGE, CONSTRAINTS = (
    (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    for name in ("formulas.md", "constraints.md")
)


def blocks(language, page=PAGE):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


FORMULAS = [line for block in blocks("formula") for line in block.splitlines() if line]


@pytest.mark.parametrize("text", FORMULAS)
def test_every_formula_has_a_distribution(text):
    formula = parse(text)
    check(formula)
    assert parse(str(formula)) == formula


@pytest.mark.parametrize("text", re.findall(r"^\| .* \| `([^`]+)` \|$", PAGE, re.MULTILINE))
def test_every_method_has_a_distribution(text):
    check(parse(text))


@pytest.mark.parametrize("text", [*blocks("toml"), *blocks("toml", CONSTRAINTS)])
def test_every_voice_file_reads(text):
    parse_voice(text)


@pytest.mark.parametrize("text", blocks("python"))
def test_every_python_block_runs(text):
    exec(compile(text, "docs/formulas.md", "exec"), {})


def test_the_page_is_not_empty_of_examples():
    assert len(FORMULAS) >= 8
    assert blocks("toml")
    assert blocks("python")
