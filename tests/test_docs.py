"""The Python blocks of the pages about the engine run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("decoding.md", "speculation.md", "constraints.md")
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.M))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, capsys):
    exec(compile(block, "docs", "exec"), {})


def test_there_are_blocks():
    assert len(BLOCKS) >= 3
