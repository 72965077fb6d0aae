"""`lmalgebra train contrast`: a model that tells wanted texts from unwanted ones by their perplexities."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.cli.console import say
from lmalgebra.cli.options import given
from lmalgebra.cli.settings_options import Setting, take_options
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_progress import progress

if TYPE_CHECKING:
    from lmalgebra.training.contrast.train import Trained

_DATA, _OBJECTIVE, _NETWORK, _TRAINING, _RUNNING = "Data", "Objective", "Network", "Training", "Running"


SETTINGS = (
    Setting(
        _DATA, "data", list, "FILE.jsonl", "", "JSON Lines, Parquet or hub:owner/name; may be given several times."
    ),
    Setting(_DATA, "positives", list, "FIELD", "positives", "Field of the wanted texts; may be given several times."),
    Setting(_DATA, "negatives", list, "FIELD", "negatives", "Field of the unwanted texts; likewise."),
    Setting(_DATA, "anchor", str, "FIELD", "anchor", "Field of what both mean; equal ones are one group."),
    Setting(_DATA, "prompt", str, "TEXT", "nothing", "What comes before each text: a template over {{ anchor }}."),
    Setting(_DATA, "max_tokens", int, "TOKENS", "128", "Of longer texts the first so many count."),
    Setting(_DATA, "end_token", bool, "", "", "Count each text's end, too."),
    Setting(_DATA, "held_out", float, "SHARE", "0.1", "Share of the groups that are only measured."),
    Setting(_DATA, "held_out_groups", int, "GROUPS", "200", "At most so many of them."),
    Setting(_DATA, "held_out_data", list, "FILE.jsonl", "", "Groups to measure in place of a share: JSON Lines."),
    Setting(
        _OBJECTIVE, "objective", str, "NAME", "contrast", "contrast, positives, negatives; by TRL dpo, simpo, orpo."
    ),
    Setting(_OBJECTIVE, "phi", str, "NAME", "log-perplexity", "log-perplexity or perplexity."),
    Setting(_OBJECTIVE, "loss", str, "NAME", "ratio", "ratio, or softmax as the paper's code has it."),
    Setting(
        _OBJECTIVE, "distance", str, "NAME", "absolute", "absolute, or signed, which makes every negative less likely."
    ),
    Setting(_OBJECTIVE, "prototype", str, "NAME", "group", "Mean of the positives of each group, or of the batch."),
    Setting(_OBJECTIVE, "prototype_gradient", bool, "", "they do", "Let gradients flow through the prototype."),
    Setting(_OBJECTIVE, "tau", float, "NUMBER", "1", "Divides distances, in the unit of phi."),
    Setting(_OBJECTIVE, "alpha", float, "NUMBER", "1", "Weight of negatives."),
    Setting(_OBJECTIVE, "most_positives", int, "TEXTS", "0, all", "Draw so many of a group in each epoch."),
    Setting(_OBJECTIVE, "most_negatives", int, "TEXTS", "0, all", "The same for negatives."),
    Setting(_OBJECTIVE, "random_negatives", int, "TEXTS", "0", "Negatives of other anchors beside a group's own."),
    Setting(_OBJECTIVE, "likelihood", float, "NUMBER", "0", "Weight of the positives' mean token loss."),
    Setting(_OBJECTIVE, "kl", float, "NUMBER", "0", "Weight of the divergence from the start, on positives."),
    Setting(_OBJECTIVE, "beta", float, "NUMBER", "0.1", "That of dpo, simpo and orpo."),
    Setting(_NETWORK, "model", str, "NAME", "", "Causal model: a folder, hub id or catalogue name."),
    Setting(_NETWORK, "method", str, "NAME", "lora", "lora, full, or qlora (4-bit weights, on CUDA)."),
    Setting(_NETWORK, "rank", int, "RANK", "16", "Rank of the updates."),
    Setting(_NETWORK, "lora_scale", float, "NUMBER", "2", "Factor of the updates, alpha over rank."),
    Setting(_NETWORK, "lora_dropout", float, "SHARE", "0", "Dropout before the updates."),
    Setting(_NETWORK, "targets", list, "NAME", "all-linear", "Linear layers that are updated."),
    Setting(_NETWORK, "merge", bool, "", "", "Write a model with the updates in its weights, not an adapter."),
    Setting(_NETWORK, "dtype", str, "NAME", "auto", "auto, float32, bfloat16 or float16."),
    Setting(_TRAINING, "epochs", float, "EPOCHS", "3", "Times through the data."),
    Setting(_TRAINING, "steps", int, "STEPS", "0, the epochs decide", "End after so many steps."),
    Setting(_TRAINING, "batch_size", int, "GROUPS", "8", "Groups (for TRL's objectives pairs) in a pass."),
    Setting(_TRAINING, "accumulation", int, "PASSES", "1", "Passes in a step."),
    Setting(_TRAINING, "learning_rate", float, "NUMBER", "1e-4", "AdamW's, at its height."),
    Setting(_TRAINING, "warmup", float, "SHARE", "0.1", "Share of the steps in which it rises; then it falls."),
    Setting(_TRAINING, "weight_decay", float, "NUMBER", "0", "AdamW's."),
    Setting(_TRAINING, "max_gradient", float, "NUMBER", "1", "Norm to which gradients are cut."),
    Setting(_TRAINING, "gradient_checkpointing", bool, "", "", "Compute activations twice, for less memory."),
    Setting(_TRAINING, "seed", int, "NUMBER", "0", "Decides the split, the updates' start and the order."),
    Setting(
        _RUNNING, "utility", str, "FILE.jsonl", "", "Texts whose likelihood should stay: JSON Lines or hub:owner/name."
    ),
    Setting(_RUNNING, "utility_field", str, "FIELD", "text", "Their field."),
    Setting(
        _RUNNING,
        "utility_limit",
        float,
        "FACTOR",
        "1.1",
        "End where their perplexity is above so many times that at the start.",
    ),
    Setting(_RUNNING, "judge", str, "JUDGE", "none", "Scores what is said after half a held-out negative."),
    Setting(_RUNNING, "evaluate_steps", int, "STEPS", "50", "Steps between measurements."),
    Setting(_RUNNING, "checkpoint_steps", int, "STEPS", "200", "Steps between checkpoints."),
    Setting(_RUNNING, "trackers", list, "NAME", "none", "Trackers: tensorboard, wandb, trackio."),
    Setting(_RUNNING, "output", str, "FOLDER", "", "Folder to make."),
    Setting(_RUNNING, "device", str, "NAME", "auto", "Where to compute: auto, cpu, cuda ..."),
)
"""All settings, in the order of the help text."""


def contrast(config: str | None = None, resume: bool = False, **options: Any) -> None:
    """Train a model by contrastive perplexity (arXiv 2401.08491), or by a baseline, on wanted and unwanted texts.

    Writes an adapter to stand in formulas, or a model. Measures of the held-out groups go to standard output, before
    and after. Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.contrast.settings import load_settings
    from lmalgebra.training.contrast.train import train_contrast

    settings = load_settings(None if config is None else Path(config), given(**options))
    with progress() as advance, stop_when_asked() as stop:
        trained = train_contrast(settings, resume=resume, report=say, advance=advance, stop=stop)
    _tell(trained)


take_options(contrast, SETTINGS)


def _tell(trained: "Trained") -> None:
    from lmalgebra.training.contrast.measuring import measure_rows

    before, after = (dict(measure_rows(each)) for each in (trained.before, trained.after))
    width = max(map(len, after))
    print(f"{'on held-out groups':<{width}}  {'before':>10}  {'after':>10}")
    print("\n".join(f"{name:<{width}}  {before[name]:>10}  {after[name]:>10}" for name in after))
    if trained.ended:
        say(trained.ended)
    say(f"Wrote {trained.folder}.")
