"""A command line within the test process, and a voice whose every draw can be worked out by hand."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lmalgebra.cli import app

Run = Callable[..., Result]

LETTERS = {"a": 0.5, "b": 0.3, "c": 0.15, "<end>": 0.05}
"""Every next token of the voice `letters`, whatever came before."""


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `lmalgebra` with some arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, input: str | bytes | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input, catch_exceptions=False)
        assert result.exit_code == code, result.stderr
        return result

    return run


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A voice file over an exact table: the terms `letters` and, the other way round, `reverse`."""
    names = list(LETTERS)
    for name, row in (("table", list(LETTERS.values())), ("reverse", [0.15, 0.3, 0.5, 0.05])):
        table = {"pieces": names, "end": "<end>", "order": 0, "rows": {"": row}}
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
    voice = tmp_path / "letters.toml"
    voice.write_text(
        'formula = "letters"\n[models.table]\nsource = "./table.json"\n[models.other]\nsource = "./reverse.json"\n'
        '[terms.letters]\nmodel = "table"\nprefix = ""\n[terms.reverse]\nmodel = "other"\nprefix = ""\n'
        "[generation]\nmax_new_tokens = 30\n"
    )
    return voice


def samples(text: str) -> list[dict]:
    """JSON Lines as objects."""
    return [json.loads(line) for line in text.splitlines()]


def stop_a_training(folder: Path, *arguments: object) -> None:
    """Start `lmalgebra train` in `folder` and press Ctrl-C when it has told of a step: it must leave a checkpoint."""
    command = [sys.executable, "-m", "lmalgebra", "train", *map(str, arguments)]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        told = ""
        while "step " not in told:
            line = running.stderr.readline()
            assert line, told  # it has ended instead
            told += line
        running.send_signal(signal.SIGINT)
        told += running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "Stopping after this step, with a checkpoint" in told
    assert "The same command with --resume goes on." in told
    assert list((folder / "out-unfinished").glob("checkpoint-*"))
