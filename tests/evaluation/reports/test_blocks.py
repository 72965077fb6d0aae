"""Blocks as Markdown."""

import pytest

from lmalgebra.evaluation.reports.blocks import (
    Code,
    Figure,
    Listing,
    Paragraph,
    Section,
    Table,
    markdown,
    markdown_block,
)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Paragraph("One *two* <b>\n three"), "One \\*two\\* \\<b\\> three"),
        (Listing(["a", "b | c"]), "- a\n- b \\| c"),
        (Figure("name", "What it is of"), "![What it is of](name.png)"),
        (Code("run ```"), "````text\nrun ```\n````"),
        (
            Table(["a", "b"], [["x", "base | self"], ["y", ""]], frozenset({(0, 1)})),
            "| a   | b                |\n"
            "| --- | ---------------- |\n"
            "| x   | **base \\| self** |\n"
            "| y   |                  |",
        ),
    ],
)
def test_a_block(block, text):
    assert markdown_block(block) == text


def test_a_report_has_titles():
    assert markdown("A", [Section("B", [Paragraph("c")])]) == "# A\n\n## B\n\nc\n"
