"""`lmalgebra train classifier`: a classifier of texts from labels or scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.cli.console import say
from lmalgebra.cli.options import given
from lmalgebra.cli.settings_options import Setting, take_options
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_progress import progress

if TYPE_CHECKING:
    from lmalgebra.training.classifiers.train import Trained

_DATA, _NETWORK, _TRAINING, _RUNNING = "Data", "Network", "Training", "Running"


SETTINGS = (
    Setting(_DATA, "data", list, "FILE.jsonl", "", "JSON Lines; may be given several times."),
    Setting(_DATA, "text", list, "FIELD", "text", "Field of the text; several go with as many labels or scores."),
    Setting(_DATA, "label", list, "FIELD", "", "Field of its label: text, a whole number, true or false."),
    Setting(_DATA, "score", list, "FIELD", "", "Field of its score from 0 to 1, in place of a label."),
    Setting(_DATA, "name", str, "NAME", "yes", "Label that a score is of."),
    Setting(
        _DATA,
        "pair",
        str,
        "FIELD",
        "",
        "Field of a text that comes before each, as an answer's context; they are read as a pair.",
    ),
    Setting(_DATA, "held_out", float, "SHARE", "0.1", "Share of the lines that are only judged."),
    Setting(_DATA, "max_tokens", int, "TOKENS", "128", "Longer texts keep so many at their end."),
    Setting(_NETWORK, "model", str, "NAME", "", "Encoder or causal model: a folder, hub id or catalogue name."),
    Setting(_NETWORK, "layers", int, "LAYERS", "0, all", "Keep the first so many."),
    Setting(_NETWORK, "lora", int, "RANK", "0, all weights", "Train updates of this rank by PEFT."),
    Setting(_NETWORK, "head_only", bool, "", "", "Train the head and nothing else."),
    Setting(_TRAINING, "epochs", float, "EPOCHS", "3", "Times through the data."),
    Setting(_TRAINING, "batch_size", int, "TEXTS", "32", "Texts in a step."),
    Setting(_TRAINING, "learning_rate", float, "NUMBER", "5e-5", "AdamW's, at its height."),
    Setting(_TRAINING, "warmup", float, "SHARE", "0.1", "Share of the steps in which it rises; then it falls."),
    Setting(_TRAINING, "weight_decay", float, "NUMBER", "0.01", "AdamW's."),
    Setting(_TRAINING, "seed", int, "NUMBER", "0", "Decides the split, the head and the order."),
    Setting(_RUNNING, "output", str, "FOLDER", "", "Folder to make."),
    Setting(_RUNNING, "checkpoint_steps", int, "STEPS", "200", "Steps between checkpoints."),
    Setting(_RUNNING, "device", str, "NAME", "auto", "Where to compute: auto, cpu, cuda ..."),
)
"""All settings, in the order of the help text."""


def classifier(config: str | None = None, resume: bool = False, **options: Any) -> None:
    """Train a classifier of texts on labels or scores, to stand in formulas as la.classifier(FOLDER, LABEL).

    Metrics of the held-out examples go to standard output. Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.classifiers.settings import load_settings
    from lmalgebra.training.classifiers.train import train_classifier

    settings = load_settings(None if config is None else Path(config), given(**options))
    with progress() as advance, stop_when_asked() as stop:
        trained = train_classifier(settings, resume=resume, report=say, advance=advance, stop=stop)
    _tell(trained)


take_options(classifier, SETTINGS)


def _tell(trained: "Trained") -> None:
    from lmalgebra.training.classifiers.card import metric_rows

    rows = metric_rows(trained.metrics)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    say(f"Wrote {trained.folder}.")
