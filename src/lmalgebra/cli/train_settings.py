"""What the verbs that train a term share: settings as options, and how they tell of their steps."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from lmalgebra.cli.console import error_console, progress_bars, say
from lmalgebra.cli.options import option

RUNNING = "Running"


class Setting(NamedTuple):
    """One of the settings as an option: its kind, unit or choices, default as text, and what it means."""

    panel: str
    name: str
    kind: type
    metavar: str
    default: str
    text: str


def take_options(verb: Callable[..., None], about: str, settings: Sequence[Setting]) -> None:
    """Let Typer read an option of `verb` for each of `settings`, none of which has a value until it is given; `about`
    is said of the file of settings."""
    config = typer.Argument(metavar="SETTINGS.toml", show_default=False, help=about)
    going_on = typer.Option("--resume", help="Go on after a stop.", rich_help_panel=RUNNING)
    chosen: dict[str, tuple[Any, Any]] = {"config": (Annotated[str | None, config], None)}
    for each in settings:
        told = f"{each.text} Default: {each.default}." if each.default else each.text
        flag = f"--{each.name.replace('_', '-')}"
        metavar = each.metavar or None
        kind = list[str] if each.kind is list else each.kind
        chosen[each.name] = (Annotated[kind | None, option(each.panel, flag, text=told, metavar=metavar)], None)  # type: ignore[operator]
    chosen["resume"] = (Annotated[bool, going_on], False)
    verb.__annotations__ = {name: kind for name, (kind, _) in chosen.items()} | {"return": None}
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, place, default=each, annotation=kind) for name, (kind, each) in chosen.items()
    ]
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]


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
