"""How trainings tell of their steps in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lmalgebra.cli.console import error_console, progress_bars, say


@contextmanager
def progress() -> Iterator[Callable[[int, int, float | None], None]]:
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


@contextmanager
def steps_told(
    numbers: Callable[[dict[str, Any]], str], after: Callable[[dict[str, Any]], str] = lambda sample: ""
) -> Iterator[Callable[[dict[str, Any], int], None]]:
    """A bar on a terminal, and in any case a line of `numbers` and a sample, with what comes `after` it, at each tenth
    of the steps."""
    told = 0

    def tell(measured: dict[str, Any], steps: int) -> None:
        nonlocal told
        step = measured["step"]
        if 10 * step // steps > told or step == 1:
            told = 10 * step // steps
            say(f"step {step:,} of {steps:,}, {numbers(measured)}")
            for sample in measured["samples"][:1]:
                say(f"  {_short(sample['prompt'])} -> {_short(sample['text'])}{after(sample)}")

    if not error_console().is_terminal:
        yield tell
        return
    with progress_bars("steps", "{task.fields[more]}") as bar:
        task = bar.add_task("steps", total=None, more="")

        def advance(measured: dict[str, Any], steps: int) -> None:
            bar.update(task, completed=measured["step"], total=steps, more=numbers(measured))
            tell(measured, steps)

        yield advance


def _short(text: Any, most: int = 60) -> str:
    """A text's last characters, on one line."""
    line = " ".join((text if isinstance(text, str) else text[-1]["content"]).split())
    return repr(line if len(line) <= most else f"...{line[-most:]}")
