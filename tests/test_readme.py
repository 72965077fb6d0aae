"""The README cannot drift: its example prints what it says, its commands exist, its tree is the tree."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmalgebra.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_prints_the_output_shown(smollm2: Path) -> None:
    (example,) = blocks("python")
    expected = blocks("text")[0]
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected.strip()


def test_every_command_shown_exists() -> None:
    lines = [line.strip() for block in blocks("sh") for line in block.splitlines()]
    verbs = [shlex.split(line, comments=True)[1] for line in lines if line.startswith("lmalgebra ")]
    assert len(verbs) >= 4
    for verb in set(verbs):
        done = CliRunner().invoke(app, [verb, "--help"])
        assert done.exit_code == 0, done.stderr


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE):
        assert target in targets


def test_every_file_in_the_tree_exists() -> None:
    (tree,) = [block for block in blocks("text") if block.startswith("src/lmalgebra/")]
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            assert (ROOT / name).exists(), name
        else:
            assert (ROOT / folder / name).exists(), folder + name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_source_file_named_exists(page: Path) -> None:
    for name in re.findall(r"`((?:\w+/)+\w+\.py)", page.read_text(encoding="utf-8")):
        assert any((base / name).exists() for base in (ROOT, ROOT / "src" / "lmalgebra")), name
