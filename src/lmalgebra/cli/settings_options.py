"""Typed settings as options: a verb whose work has dozens of them lists each once, and all read a file of them, too."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer

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


def take_options(verb: Callable[..., None], settings: Sequence[Setting], about: str = "") -> None:
    """Let Typer read an option of `verb` for each of `settings`, none of which has a value until it is given; `about`
    is said of what may stand in place of the file of settings."""
    told = f"TOML, with settings named like the options; options given here replace them. {about}".rstrip()
    config = typer.Argument(metavar="SETTINGS.toml", show_default=False, help=told)
    going_on = typer.Option("--resume", help="Go on after a stop.", rich_help_panel=RUNNING)
    chosen: dict[str, tuple[Any, Any]] = {"config": (Annotated[str | None, config], None)}
    for each in settings:
        told = f"{each.text} Default: {each.default}." if each.default else each.text
        name = each.name.replace("_", "-")
        flag = f"--{name}/--no-{name}" if each.kind is bool else f"--{name}"
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
