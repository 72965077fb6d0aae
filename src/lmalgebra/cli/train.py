"""`lmalgebra train`: make what a formula's terms stand for."""

import typer

from lmalgebra.cli.train_adapter import adapter
from lmalgebra.cli.train_classifier import classifier
from lmalgebra.cli.train_contrast import contrast
from lmalgebra.cli.train_distill import distill

app = typer.Typer(no_args_is_help=True, help="Train what the terms of a formula stand for.")

for verb in (adapter, contrast, distill, classifier):
    app.command()(verb)
