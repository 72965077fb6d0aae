"""`lmalgebra models`: the catalogue of weights that need no account and no hub."""

from typing import Annotated

import typer

from lmalgebra.cli.console import say

app = typer.Typer(no_args_is_help=True, help="List and fetch the models of the catalogue.")

ModelName = Annotated[str, typer.Argument(metavar="NAME", help="A name of the catalogue; see `lmalgebra models list`.")]


@app.command("list")
def list_models() -> None:
    """Show the catalogue, and what is on this machine already."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from lmalgebra.models import catalog

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "model", "parameters", "download", "chat", "here"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("parameters", "download") else "left")
    for name in catalog.names():
        entry = catalog.entry(name)
        size, download = f"{entry.parameters / 1e6:,.0f} M", f"{entry.download_megabytes:,} MB"
        here = "yes" if catalog.is_fetched(name) else "no"
        table.add_row(name, entry.title, size, download, "yes" if entry.chat else "no", here)
    console = Console(highlight=False)
    console.print(table)
    for name in catalog.names():
        entry = catalog.entry(name)
        console.print(f"{name}: {entry.summary}. {entry.licence}.", markup=False, soft_wrap=True)


@app.command()
def fetch(
    name: ModelName,
    force: Annotated[bool, typer.Option("--force", help="Fetch again, even what is there.")] = False,
) -> None:
    """Download a model, check it, and make it ready to load."""
    from lmalgebra.models import catalog

    if catalog.is_fetched(name) and not force:
        say(f"{name} is already in {catalog.fetch(name)}; --force fetches it again.")
    else:
        catalog.fetch(name, force=force, report=say)


@app.command()
def path(name: ModelName) -> None:
    """Print the folder of a model's weights, which Transformers can load; fetch them first if need be."""
    from lmalgebra.models import catalog

    typer.echo(catalog.path(name, say))
