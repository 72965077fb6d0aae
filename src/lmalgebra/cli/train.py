"""`lmalgebra train`: make what a formula's terms stand for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.console import INTERRUPTED, say
from lmalgebra.cli.options import given, option
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_adapter import adapter
from lmalgebra.cli.train_contrast import contrast
from lmalgebra.cli.train_distill import distill
from lmalgebra.cli.train_progress import progress

if TYPE_CHECKING:
    from lmalgebra.training.classifiers.train import Trained

app = typer.Typer(no_args_is_help=True, help="Train what the terms of a formula stand for.")

app.command()(adapter)
app.command()(contrast)
app.command()(distill)

_DATA, _NETWORK, _TRAINING, _RUNNING = "Data", "Network", "Training", "Running"


@app.command()
def classifier(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="SETTINGS.toml",
            show_default=False,
            help="TOML, with settings named like the options; options given here replace them.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        option(_DATA, "--data", text="JSON Lines; may be given several times.", metavar="FILE.jsonl"),
    ] = None,
    text: Annotated[
        list[str] | None,
        option(
            _DATA,
            "--text",
            text="Field of the text; several go with as many labels or scores. Default: text.",
            metavar="FIELD",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        option(_DATA, "--label", text="Field of its label: text, a whole number, true or false.", metavar="FIELD"),
    ] = None,
    score: Annotated[
        list[str] | None,
        option(_DATA, "--score", text="Field of its score from 0 to 1, in place of a label.", metavar="FIELD"),
    ] = None,
    name: Annotated[
        str | None, option(_DATA, "--name", text="Label that a score is of. Default: yes.", metavar="NAME")
    ] = None,
    pair: Annotated[
        str | None,
        option(
            _DATA,
            "--pair",
            text="Field of a text that comes before each, as an answer's context; they are read as a pair.",
            metavar="FIELD",
        ),
    ] = None,
    held_out: Annotated[
        float | None,
        option(_DATA, "--held-out", text="Share of the lines that are only judged. Default: 0.1.", metavar="SHARE"),
    ] = None,
    max_tokens: Annotated[
        int | None,
        option(_DATA, "--max-tokens", text="Longer texts keep so many at their end. Default: 128.", metavar="TOKENS"),
    ] = None,
    model: Annotated[
        str | None,
        option(
            _NETWORK, "--model", text="Encoder or causal model: a folder, hub id or catalogue name.", metavar="NAME"
        ),
    ] = None,
    layers: Annotated[
        int | None, option(_NETWORK, "--layers", text="Keep the first so many. Default: 0, all.", metavar="LAYERS")
    ] = None,
    lora: Annotated[
        int | None,
        option(_NETWORK, "--lora", text="Train updates of this rank by PEFT. Default: 0, all weights.", metavar="RANK"),
    ] = None,
    head_only: Annotated[bool | None, option(_NETWORK, "--head-only", text="Train the head and nothing else.")] = None,
    epochs: Annotated[
        float | None, option(_TRAINING, "--epochs", text="Times through the data. Default: 3.", metavar="EPOCHS")
    ] = None,
    batch_size: Annotated[
        int | None, option(_TRAINING, "--batch-size", text="Texts in a step. Default: 32.", metavar="TEXTS")
    ] = None,
    learning_rate: Annotated[
        float | None,
        option(_TRAINING, "--learning-rate", text="AdamW's, at its height. Default: 5e-5.", metavar="NUMBER"),
    ] = None,
    warmup: Annotated[
        float | None,
        option(
            _TRAINING,
            "--warmup",
            text="Share of the steps in which it rises; then it falls. Default: 0.1.",
            metavar="SHARE",
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, option(_TRAINING, "--weight-decay", text="AdamW's. Default: 0.01.", metavar="NUMBER")
    ] = None,
    seed: Annotated[
        int | None,
        option(_TRAINING, "--seed", text="Decides the split, the head and the order. Default: 0.", metavar="NUMBER"),
    ] = None,
    output: Annotated[str | None, option(_RUNNING, "--output", text="Folder to make.", metavar="FOLDER")] = None,
    checkpoint_steps: Annotated[
        int | None,
        option(_RUNNING, "--checkpoint-steps", text="Steps between checkpoints. Default: 200.", metavar="STEPS"),
    ] = None,
    device: Annotated[
        str | None,
        option(_RUNNING, "--device", text="Where to compute: auto, cpu, cuda ... Default: auto.", metavar="NAME"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a stop.", rich_help_panel=_RUNNING)] = False,
) -> None:
    """Train a classifier of texts on labels or scores, to stand in formulas as la.classifier(FOLDER, LABEL).

    Metrics of the held-out examples go to standard output. Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.classifiers.settings import load_settings

    settings = load_settings(
        config,
        given(
            data=data,
            text=text,
            label=label,
            score=score,
            name=name,
            pair=pair,
            held_out=held_out,
            max_tokens=max_tokens,
            model=model,
            layers=layers,
            lora=lora,
            head_only=head_only,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            seed=seed,
            output=output,
            checkpoint_steps=checkpoint_steps,
            device=device,
        ),
    )
    from lmalgebra.training.checkpoints import Stopped
    from lmalgebra.training.classifiers.train import train_classifier

    try:
        with progress() as advance, stop_when_asked() as stop:
            trained = train_classifier(settings, resume=resume, report=say, advance=advance, stop=stop)
    except Stopped as stopped:
        say(str(stopped))
        raise typer.Exit(INTERRUPTED) from None
    _tell(trained)


def _tell(trained: "Trained") -> None:
    from lmalgebra.training.classifiers.card import metric_rows

    rows = metric_rows(trained.metrics)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    say(f"Wrote {trained.folder}.")
