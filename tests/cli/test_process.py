"""The command as a process of its own: Ctrl-C, closed pipes, exit codes, and never a traceback."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from cli.conftest import samples

# Where the tests run in the background, their children would inherit that Ctrl-C is ignored.
HEED_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEED_CTRL_C}; from lmalgebra.cli import main; main()"]
PROMPTS = "".join(json.dumps({"prompt": f"number {number}."}) + "\n" for number in range(8))
JOB = ["run", "--model", "toy", "--prompts", "prompts.jsonl", "--samples", "3", "--max-new-tokens", "60"]
LONG = ["--model", "toy", "--max-new-tokens", "4000", "--min-new-tokens", "4000"]
PATIENCE = 60  # seconds


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts the command in an empty folder with pipes; whatever is left of it ends with the test."""
    started = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text(PROMPTS)

    def begin(*arguments: str) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen([*COMMAND, *arguments], text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def test_a_stopped_run_goes_on_where_it_was(start, lm, tmp_path):
    lm(*JOB, "--output", "whole.jsonl")
    process, file = start(*JOB, "--batch", "3", "--output", "out.jsonl"), tmp_path / "out.jsonl"
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") >= 5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    kept = samples(file.read_text())
    assert process.returncode == 130
    assert told == f"Stopped; out.jsonl keeps {len(kept)} samples. The same command with --resume goes on.\n"
    assert 5 <= len(kept) < 24

    lm(*JOB, "--output", "out.jsonl", "--resume")
    assert sorted(file.read_text().splitlines()) == sorted((tmp_path / "whole.jsonl").read_text().splitlines())


def test_ctrl_c_ends_a_printing_run_with_one_line(start):
    process = start("run", *LONG, "--prompt", "hi.")
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (130, "\nStopped; 0 samples finished.\n")


@pytest.mark.parametrize("arguments", [["run", *LONG, "--prompt", "hi."], ["check", "--model", "toy"]])
def test_a_closed_pipe_is_no_complaint(start, arguments):
    process = start(*arguments)
    if arguments[0] == "run":
        assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=PATIENCE) == 141


def test_a_mistake_has_exit_code_2_and_no_traceback(start):
    process = start("run", "none.toml", "--prompt", "a")
    said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (2, "")
    assert told == "error: There is no voice file 'none.toml'. Check the path, or make one first.\n"


def test_standard_input_that_is_not_text_is_told(start):
    process = start("run", "--model", "toy", "--prompt", "-")
    process.stdin.buffer.write(b"\xff\xfe")
    _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (2, "error: Standard input is not UTF-8 text. Convert it to UTF-8.\n")


def test_ctrl_c_stops_an_answer_and_then_the_chat(tmp_path):
    """In a terminal of its own, as someone would do it."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvp(COMMAND[0], [*COMMAND, "chat", *LONG])
    heard = Terminal(terminal)
    heard.until("> ")
    heard.type("hi.\n")
    heard.until("hi.\r\n", beyond=20)
    heard.type("\x03")
    heard.until("\r\n> ")
    heard.type("\x03")
    heard.until("Stopped.")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert "Traceback" not in heard.text
    os.close(terminal)


class Terminal:
    """The far end of a pseudo-terminal: what was shown, and what to type."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._from = 0
        self.text = ""

    def type(self, text: str) -> None:
        self._from = len(self.text)
        os.write(self._descriptor, text.encode())

    def until(self, expected: str, beyond: int = 0) -> None:
        """Read until `expected` and `beyond` characters more have come since something was typed."""
        wait_until(lambda: self._read() and expected in self.text[self._from : len(self.text) - beyond])

    def _read(self) -> bool:
        if select.select([self._descriptor], [], [], 0.1)[0]:
            self.text += os.read(self._descriptor, 4096).decode(errors="replace")
        return True


def wait_until(happened) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
