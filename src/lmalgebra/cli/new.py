"""`lmalgebra new`: write a voice file to start from."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lmalgebra.cli import options
from lmalgebra.cli.voices import DEFAULT_MODEL
from lmalgebra.errors import VoiceError


def new(
    path: Annotated[Path, typer.Argument(metavar="PATH.toml", help="The voice file to make.")],
    model: options.ModelSource = None,
) -> None:
    """Write a commented voice file to start from."""
    from lmalgebra.algebra import new_voice_text, parse_voice

    text = new_voice_text(DEFAULT_MODEL if model is None else _absolute(model))
    parse_voice(text)  # refuses a model that no voice file can name
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise VoiceError(f"'{path}' is already there, and is left as it is.", "Choose another name.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VoiceError(f"'{path}' cannot be written: {reason}.", "Choose a folder you can write to.") from None
    typer.echo(f"Wrote {path}. Change the formula and the prompts in it, then try:")
    typer.echo(f'  lmalgebra check {path}\n  lmalgebra run {path} --prompt "Describe a city at night."')


def _absolute(source: str) -> str:
    """A path made independent of the current folder: in a voice file it would start at the file's own."""
    from lmalgebra.models import catalog

    is_name = source in ("", "toy", *catalog.names())  # the path "" would be the current folder
    return os.path.abspath(source) if not is_name and Path(source).exists() else source
