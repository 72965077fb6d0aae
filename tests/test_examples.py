"""Every example runs, as its docstring says, and prints something.

One new process runs them all: most of a process's time goes into imports and weights, which they share.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from lmalgebra.algebra import load_voice

EXAMPLES = Path(__file__).parent.parent / "examples"


SCRIPTS = sorted(EXAMPLES.glob("*.py"))
MARK = "== the example "
RUN_ALL = f"""
import runpy, sys
for script in sys.argv[1:]:
    print({MARK!r} + script)
    sys.argv[:] = [script]
    runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def printed(smollm2: Path) -> dict[str, str]:
    """What each example prints, by its path."""
    command = [sys.executable, "-c", RUN_ALL, *map(str, SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(part.split("\n", maxsplit=1) for part in done.stdout.split(MARK)[1:])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs(script: Path, printed: dict[str, str]) -> None:
    assert printed[str(script)].strip()
    assert f"python examples/{script.name}" in script.read_text()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_voice_loads(file: Path) -> None:
    assert load_voice(file).formula.leaves()
