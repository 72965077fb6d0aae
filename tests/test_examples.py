"""Every example runs, as its docstring says, and prints something."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmalgebra.algebra import load_voice

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(script: Path, smollm2: Path) -> None:
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert f"python examples/{script.name}" in script.read_text()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_voice_loads(file: Path) -> None:
    assert load_voice(file).formula.leaves()
