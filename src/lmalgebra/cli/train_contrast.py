"""`lmalgebra train contrast`: a model that tells wanted texts from unwanted ones by their perplexities."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.console import INTERRUPTED, say
from lmalgebra.cli.options import given, option
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_progress import progress

if TYPE_CHECKING:
    from lmalgebra.training.contrast.train import Trained

_DATA, _OBJECTIVE, _NETWORK, _TRAINING, _RUNNING = "Data", "Objective", "Network", "Training", "Running"


def contrast(
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
        option(
            _DATA,
            "--data",
            text="JSON Lines, Parquet or hub:owner/name; may be given several times.",
            metavar="FILE.jsonl",
        ),
    ] = None,
    positives: Annotated[
        list[str] | None,
        option(
            _DATA,
            "--positives",
            text="Field of the wanted texts; may be given several times. Default: positives.",
            metavar="FIELD",
        ),
    ] = None,
    negatives: Annotated[
        list[str] | None,
        option(
            _DATA, "--negatives", text="Field of the unwanted texts; likewise. Default: negatives.", metavar="FIELD"
        ),
    ] = None,
    anchor: Annotated[
        str | None,
        option(
            _DATA,
            "--anchor",
            text="Field of what both mean; equal ones are one group. Default: anchor.",
            metavar="FIELD",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        option(
            _DATA,
            "--prompt",
            text="What comes before each text: a template over {{ anchor }}. Default: nothing.",
            metavar="TEXT",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        option(_DATA, "--max-tokens", text="Of longer texts the first so many count. Default: 128.", metavar="TOKENS"),
    ] = None,
    end_token: Annotated[
        bool | None, option(_DATA, "--end-token/--no-end-token", text="Count each text's end, too.")
    ] = None,
    held_out: Annotated[
        float | None,
        option(_DATA, "--held-out", text="Share of the groups that are only measured. Default: 0.1.", metavar="SHARE"),
    ] = None,
    held_out_groups: Annotated[
        int | None, option(_DATA, "--held-out-groups", text="At most so many of them. Default: 200.", metavar="GROUPS")
    ] = None,
    held_out_data: Annotated[
        list[str] | None,
        option(
            _DATA, "--held-out-data", text="Groups to measure in place of a share: JSON Lines.", metavar="FILE.jsonl"
        ),
    ] = None,
    objective: Annotated[
        str | None,
        option(
            _OBJECTIVE,
            "--objective",
            text="contrast, positives, negatives; by TRL dpo, simpo, orpo. Default: contrast.",
            metavar="NAME",
        ),
    ] = None,
    phi: Annotated[
        str | None,
        option(_OBJECTIVE, "--phi", text="log-perplexity or perplexity. Default: log-perplexity.", metavar="NAME"),
    ] = None,
    loss: Annotated[
        str | None,
        option(
            _OBJECTIVE, "--loss", text="ratio, or softmax as the paper's code has it. Default: ratio.", metavar="NAME"
        ),
    ] = None,
    distance: Annotated[
        str | None,
        option(
            _OBJECTIVE,
            "--distance",
            text="absolute, or signed, which makes every negative less likely. Default: absolute.",
            metavar="NAME",
        ),
    ] = None,
    prototype: Annotated[
        str | None,
        option(
            _OBJECTIVE,
            "--prototype",
            text="Mean of the positives of each group, or of the batch. Default: group.",
            metavar="NAME",
        ),
    ] = None,
    prototype_gradient: Annotated[
        bool | None,
        option(
            _OBJECTIVE,
            "--prototype-gradient/--no-prototype-gradient",
            text="Let gradients flow through the prototype. Default: they do.",
        ),
    ] = None,
    tau: Annotated[
        float | None,
        option(_OBJECTIVE, "--tau", text="Divides distances, in the unit of phi. Default: 1.", metavar="NUMBER"),
    ] = None,
    alpha: Annotated[
        float | None, option(_OBJECTIVE, "--alpha", text="Weight of negatives. Default: 1.", metavar="NUMBER")
    ] = None,
    most_positives: Annotated[
        int | None,
        option(
            _OBJECTIVE,
            "--most-positives",
            text="Draw so many of a group in each epoch. Default: 0, all.",
            metavar="TEXTS",
        ),
    ] = None,
    most_negatives: Annotated[
        int | None,
        option(_OBJECTIVE, "--most-negatives", text="The same for negatives. Default: 0, all.", metavar="TEXTS"),
    ] = None,
    random_negatives: Annotated[
        int | None,
        option(
            _OBJECTIVE,
            "--random-negatives",
            text="Negatives of other anchors beside a group's own. Default: 0.",
            metavar="TEXTS",
        ),
    ] = None,
    likelihood: Annotated[
        float | None,
        option(
            _OBJECTIVE, "--likelihood", text="Weight of the positives' mean token loss. Default: 0.", metavar="NUMBER"
        ),
    ] = None,
    kl: Annotated[
        float | None,
        option(
            _OBJECTIVE,
            "--kl",
            text="Weight of the divergence from the start, on positives. Default: 0.",
            metavar="NUMBER",
        ),
    ] = None,
    beta: Annotated[
        float | None, option(_OBJECTIVE, "--beta", text="That of dpo, simpo and orpo. Default: 0.1.", metavar="NUMBER")
    ] = None,
    model: Annotated[
        str | None,
        option(_NETWORK, "--model", text="Causal model: a folder, hub id or catalogue name.", metavar="NAME"),
    ] = None,
    method: Annotated[
        str | None,
        option(
            _NETWORK, "--method", text="lora, full, or qlora (4-bit weights, on CUDA). Default: lora.", metavar="NAME"
        ),
    ] = None,
    rank: Annotated[
        int | None, option(_NETWORK, "--rank", text="Rank of the updates. Default: 16.", metavar="RANK")
    ] = None,
    lora_scale: Annotated[
        float | None,
        option(_NETWORK, "--lora-scale", text="Factor of the updates, alpha over rank. Default: 2.", metavar="NUMBER"),
    ] = None,
    lora_dropout: Annotated[
        float | None,
        option(_NETWORK, "--lora-dropout", text="Dropout before the updates. Default: 0.", metavar="SHARE"),
    ] = None,
    targets: Annotated[
        list[str] | None,
        option(_NETWORK, "--targets", text="Linear layers that are updated. Default: all-linear.", metavar="NAME"),
    ] = None,
    merge: Annotated[
        bool | None,
        option(_NETWORK, "--merge/--no-merge", text="Write a model with the updates in its weights, not an adapter."),
    ] = None,
    dtype: Annotated[
        str | None,
        option(_NETWORK, "--dtype", text="auto, float32, bfloat16 or float16. Default: auto.", metavar="NAME"),
    ] = None,
    epochs: Annotated[
        float | None, option(_TRAINING, "--epochs", text="Times through the data. Default: 3.", metavar="EPOCHS")
    ] = None,
    steps: Annotated[
        int | None,
        option(_TRAINING, "--steps", text="End after so many steps. Default: 0, the epochs decide.", metavar="STEPS"),
    ] = None,
    batch_size: Annotated[
        int | None,
        option(
            _TRAINING,
            "--batch-size",
            text="Groups (for TRL's objectives pairs) in a pass. Default: 8.",
            metavar="GROUPS",
        ),
    ] = None,
    accumulation: Annotated[
        int | None, option(_TRAINING, "--accumulation", text="Passes in a step. Default: 1.", metavar="PASSES")
    ] = None,
    learning_rate: Annotated[
        float | None,
        option(_TRAINING, "--learning-rate", text="AdamW's, at its height. Default: 1e-4.", metavar="NUMBER"),
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
        float | None, option(_TRAINING, "--weight-decay", text="AdamW's. Default: 0.", metavar="NUMBER")
    ] = None,
    max_gradient: Annotated[
        float | None,
        option(_TRAINING, "--max-gradient", text="Norm to which gradients are cut. Default: 1.", metavar="NUMBER"),
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        option(
            _TRAINING,
            "--gradient-checkpointing/--no-gradient-checkpointing",
            text="Compute activations twice, for less memory.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        option(
            _TRAINING,
            "--seed",
            text="Decides the split, the updates' start and the order. Default: 0.",
            metavar="NUMBER",
        ),
    ] = None,
    utility: Annotated[
        str | None,
        option(
            _RUNNING,
            "--utility",
            text="Texts whose likelihood should stay: JSON Lines or hub:owner/name.",
            metavar="FILE.jsonl",
        ),
    ] = None,
    utility_field: Annotated[
        str | None, option(_RUNNING, "--utility-field", text="Their field. Default: text.", metavar="FIELD")
    ] = None,
    utility_limit: Annotated[
        float | None,
        option(
            _RUNNING,
            "--utility-limit",
            text="End where their perplexity is above so many times that at the start. Default: 1.1.",
            metavar="FACTOR",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        option(
            _RUNNING,
            "--judge",
            text="Scores what is said after half a held-out negative. Default: none.",
            metavar="JUDGE",
        ),
    ] = None,
    evaluate_steps: Annotated[
        int | None,
        option(_RUNNING, "--evaluate-steps", text="Steps between measurements. Default: 50.", metavar="STEPS"),
    ] = None,
    checkpoint_steps: Annotated[
        int | None,
        option(_RUNNING, "--checkpoint-steps", text="Steps between checkpoints. Default: 200.", metavar="STEPS"),
    ] = None,
    report_to: Annotated[
        list[str] | None,
        option(_RUNNING, "--report-to", text="Trackers: tensorboard, wandb, trackio. Default: none.", metavar="NAME"),
    ] = None,
    output: Annotated[str | None, option(_RUNNING, "--output", text="Folder to make.", metavar="FOLDER")] = None,
    device: Annotated[
        str | None,
        option(_RUNNING, "--device", text="Where to compute: auto, cpu, cuda ... Default: auto.", metavar="NAME"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a stop.", rich_help_panel=_RUNNING)] = False,
) -> None:
    """Train a model by contrastive perplexity (arXiv 2401.08491), or by a baseline, on wanted and unwanted texts.

    Writes an adapter to stand in formulas, or a model. Measures of the held-out groups go to standard output, before
    and after. Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.contrast.settings import load_settings

    settings = load_settings(
        config,
        given(
            data=data,
            positives=positives,
            negatives=negatives,
            anchor=anchor,
            prompt=prompt,
            max_tokens=max_tokens,
            end_token=end_token,
            held_out=held_out,
            held_out_groups=held_out_groups,
            held_out_data=held_out_data,
            objective=objective,
            phi=phi,
            loss=loss,
            distance=distance,
            prototype=prototype,
            prototype_gradient=prototype_gradient,
            tau=tau,
            alpha=alpha,
            most_positives=most_positives,
            most_negatives=most_negatives,
            random_negatives=random_negatives,
            likelihood=likelihood,
            kl=kl,
            beta=beta,
            model=model,
            method=method,
            rank=rank,
            lora_scale=lora_scale,
            lora_dropout=lora_dropout,
            targets=targets,
            merge=merge,
            dtype=dtype,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            accumulation=accumulation,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            max_gradient=max_gradient,
            gradient_checkpointing=gradient_checkpointing,
            seed=seed,
            utility=utility,
            utility_field=utility_field,
            utility_limit=utility_limit,
            judge=judge,
            evaluate_steps=evaluate_steps,
            checkpoint_steps=checkpoint_steps,
            report_to=report_to,
            output=output,
            device=device,
        ),
    )
    from lmalgebra.training.checkpoints import Stopped
    from lmalgebra.training.contrast.train import train_contrast

    try:
        with progress() as advance, stop_when_asked() as stop:
            trained = train_contrast(settings, resume=resume, report=say, advance=advance, stop=stop)
    except Stopped as stopped:
        say(str(stopped))
        raise typer.Exit(INTERRUPTED) from None
    _tell(trained)


def _tell(trained: "Trained") -> None:
    from lmalgebra.training.contrast.measuring import measure_rows

    before, after = (dict(measure_rows(each)) for each in (trained.before, trained.after))
    width = max(map(len, after))
    print(f"{'on held-out groups':<{width}}  {'before':>10}  {'after':>10}")
    print("\n".join(f"{name:<{width}}  {before[name]:>10}  {after[name]:>10}" for name in after))
    if trained.ended:
        say(trained.ended)
    say(f"Wrote {trained.folder}.")
