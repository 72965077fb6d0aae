"""Ctrl-C in long work that can be gone on with."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmalgebra.cli.console import say


@contextmanager
def stop_when_asked() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C was pressed, which then does nothing else; pressed again, it stops at once."""
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
    finally:
        signal.signal(signal.SIGINT, before)
