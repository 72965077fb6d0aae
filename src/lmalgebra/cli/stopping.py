"""Ctrl-C in long work that can be gone on with."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lmalgebra.cli.console import INTERRUPTED, say


@contextmanager
def stop_when_asked() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C was pressed, which then does nothing else; pressed again, it stops at once.

    Work that has stopped so ends the command, with a sentence and the exit code of an interruption.
    """
    from lmalgebra.training.checkpoints import Stopped

    asked = False
    if threading.current_thread() is not threading.main_thread():  # where no signal can be caught
        yield lambda: False
        return

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("Stopping after this step, with a checkpoint ...")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    except Stopped as stopped:
        say(str(stopped))
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)
