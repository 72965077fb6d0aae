"""How trainings tell of their steps in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmalgebra.cli.console import error_console, progress_bars, say


@contextmanager
def progress() -> "Iterator[Callable[[int, int, float | None], None]]":
    """A bar on a terminal; elsewhere a line at each tenth of the steps."""
    if not error_console().is_terminal:
        told = -1

        def tell(step: int, steps: int, loss: float | None) -> None:
            nonlocal told
            tenth = 10 * step // steps
            if tenth > told and loss is not None:
                say(f"step {step:,} of {steps:,}, loss {loss:.4f}")
                told = tenth

        yield tell
        return
    with progress_bars("steps", "{task.fields[loss]}") as bar:
        task = bar.add_task("steps", total=None, loss="")

        def advance(step: int, steps: int, loss: float | None) -> None:
            bar.update(task, completed=step, total=steps, loss="" if loss is None else f"loss {loss:.4f}")

        yield advance
