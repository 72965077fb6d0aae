"""The command line: thin verbs over the library, one module each.

Whatever needs torch is imported inside a verb, so that help and the small verbs are instant.
"""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmalgebra.cli import (
    chat,
    check,
    compare,
    data,
    evaluate,
    explain,
    lm_eval,
    models,
    new,
    recipes,
    report,
    rewrite,
    run,
    serve,
    train,
    tune,
)
from lmalgebra.cli.console import BROKEN_PIPE, INTERRUPTED, say, say_error, show_notes, use_utf8
from lmalgebra.errors import LmalgebraError

__all__ = ["app", "main"]


class _Verbs(TyperGroup):
    """Ends every verb in one way: a user's mistake is a sentence, Ctrl-C a line, a closed pipe silence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows here, not when Python ends
            return result
        except LmalgebraError as error:
            say_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("Stopped.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _forget_output()
            raise typer.Exit(BROKEN_PIPE) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of registration: the order in which a newcomer needs them."""
        return list(self.commands)


app = typer.Typer(
    cls=_Verbs,
    name="lmalgebra",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from lmalgebra import __version__

        typer.echo(f"lmalgebra {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with [bold]lmalgebra run[/bold]: it needs nothing else.")
def _lmalgebra(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Say how a language model should speak with a formula over models, prompts and constraints."""
    show_notes()


app.command("run")(run.run)
app.command("chat")(chat.chat)
app.command("rewrite")(rewrite.rewrite)
app.command("serve")(serve.serve)
app.command("explain")(explain.explain)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("tune")(tune.tune)
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
app.command("lm-eval", context_settings=_PASSED_ON)(lm_eval.lm_eval)
app.command("check")(check.check)
app.command("new")(new.new)
app.command("recipes")(recipes.list_recipes)
app.add_typer(models.app, name="models")
app.add_typer(train.app, name="train")
app.add_typer(data.app, name="data")


def main() -> None:
    """The command `lmalgebra`."""
    use_utf8()
    _share_processors()
    app()


def _share_processors() -> None:
    """Let torch's threads spin only shortly while they wait for each other, unless the user has chosen.

    By default they spin long: beside one other busy program a token took 15 times as long (2 cores, SmolLM2-135M).
    This short wait costs nothing on an idle machine, where OMP_WAIT_POLICY=PASSIVE made a token 1.5 times as slow.
    OpenMP reads the variables when torch is first imported, so this comes before any verb.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _forget_output() -> None:
    """Nobody reads any more; without this, Python complains when it flushes standard output at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
