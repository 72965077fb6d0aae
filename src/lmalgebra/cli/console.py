"""What the command line says besides its results: loading sentences, notes and errors, all on standard error."""

import logging
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130
BROKEN_PIPE = 141


def error_console() -> Console:
    """Standard error as it is now; Rich looks the stream up at each print."""
    return Console(stderr=True, highlight=False)


def say(sentence: str, style: str = "dim") -> None:
    """One line on standard error, never wrapped, never read as markup."""
    error_console().print(Text(sentence, style), soft_wrap=True)


def say_error(error: LmalgebraError) -> None:
    """A user's mistake: what is wrong, and what to do about it."""
    # A message of several lines ends with a caret under the formula, so the hint needs a line of its own.
    separator = "\n" if "\n" in error.message else " "
    text = Text.assemble(("error: ", "bold red"), error.message, separator if error.hint else "", error.hint)
    error_console().print(text, soft_wrap=True)


class _NoteHandler(logging.Handler):
    """Shows what the library warns of as a short note."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}", "yellow")


def progress_bars(what: str, more: str = "") -> "Progress":
    """Bars on standard error with counts and the time left; `what` and `more` are Rich's texts before and after them.

    Standard output is left alone: it may be a file or a pipe, and must get exactly the results.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), *([TextColumn(more)] if more else []))
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    return Progress(*columns, *times, console=error_console(), redirect_stdout=False, redirect_stderr=False)


def show_notes() -> None:
    """Let warnings of the library appear on standard error."""
    log = logging.getLogger("lmalgebra")
    if not any(isinstance(handler, _NoteHandler) for handler in log.handlers):
        log.addHandler(_NoteHandler(logging.WARNING))


def use_utf8() -> None:
    """Read and write UTF-8 whatever the locale says: texts have every script, and JSON Lines are UTF-8."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
