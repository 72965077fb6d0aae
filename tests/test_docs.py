"""The Python blocks of the pages run as they stand, and the page of recipes shows what the code has."""

import re
from pathlib import Path

import pytest

from lmalgebra.algebra.recipes import RECIPES
from lmalgebra.algebra.recipes.prompts import SYSTEM_PROMPTS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (
    "decoding",
    "speculation",
    "classifiers",
    "recipes",
    "explain",
    "remote",
    "constraints",
    "evaluation",
    "contrastive",
    "rewards",
    "policy-adapters",
    "paraphrases",
)
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.M)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a block may write files
    exec(compile(block, "docs", "exec"), {})


def test_there_are_blocks():
    assert len(BLOCKS) >= 5


SECTIONS = dict(
    re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", (DOCS / "recipes.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
)


def test_the_page_has_every_recipe():
    assert list(SECTIONS) == list(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_section_is_what_the_code_has(name):
    each, section = RECIPES[name], SECTIONS[name]
    assert re.findall(r"^```formula\n(.*)\n```$", section, re.MULTILINE) == [str(each.formula)]
    assert f"{each.paper}. Takes {each.described}." in section
    assert dict(re.findall(r"^- `(\w+)`: (.*)$", section, re.MULTILINE)) == SYSTEM_PROMPTS[name]
    answers = re.findall(r"^\| [^|]+\? \| (.+) \|$|^\| [^|]+\. \| (.+) \|$", section, re.MULTILINE)
    assert len(answers) == 5
    assert all(any(answer) for answer in answers)
