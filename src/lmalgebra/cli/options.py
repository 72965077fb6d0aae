"""The options that verbs share, each with its unit and default, in the groups of the help text."""

from pathlib import Path
from typing import Annotated, Any

import typer

_VOICE, _RECIPE, _SAMPLING, _RUNNING = "The voice", "A recipe", "Sampling", "Running"

VoiceFile = Annotated[
    Path | None,
    typer.Argument(metavar="VOICE.toml", show_default=False, help="A voice file; without it, the built-in terms."),
]


def option(panel: str, *names: str, text: str, metavar: str | None = None, **more: Any) -> Any:
    """An option under a heading of the help text, which says its default itself."""
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


FormulaText = Annotated[
    str | None,
    option(_VOICE, "--formula", text="A formula over the voice's terms, in place of the voice's own.", metavar="TEXT"),
]
ModelSource = Annotated[
    str | None,
    option(
        _VOICE,
        "--model",
        text="The model that the voice speaks with: a catalogue name, a hub id, a folder, a .gguf file, or 'toy'. "
        "Default: the voice's own, or smollm2-135m.",
        metavar="NAME",
    ),
]

RecipeName = Annotated[
    str | None,
    option(_RECIPE, "--recipe", text="Speak by a published method; `lmalgebra recipes` lists them.", metavar="NAME"),
]
RecipeValues = Annotated[
    list[str] | None,
    option(
        _RECIPE,
        "--set",
        text="A parameter of the recipe, or a term for one of its parts; may be given several times.",
        metavar="NAME=VALUE",
    ),
]
RecipeSystems = Annotated[
    list[str] | None,
    option(
        _RECIPE,
        "--system",
        text="The system prompt of a part or of a new term; may be given several times.",
        metavar="NAME=TEXT",
    ),
]
RecipeClassifier = Annotated[
    str | None,
    option(_RECIPE, "--classifier", text="The classifier, for the recipes that need one.", metavar="FOLDER"),
]
RecipeLabel = Annotated[
    str | None, option(_RECIPE, "--label", text="The label of the classifier that is wanted.", metavar="LABEL")
]
RecipeUnwanted = Annotated[
    str | None,
    option(_RECIPE, "--unwanted", text="The label whose absence is wanted, in place of --label.", metavar="LABEL"),
]

MaxNewTokens = Annotated[
    int | None, option(_SAMPLING, "--max-new-tokens", text="Stop after so many tokens. Default: 64.", metavar="TOKENS")
]
MinNewTokens = Annotated[
    int | None, option(_SAMPLING, "--min-new-tokens", text="Do not end before. Default: 0.", metavar="TOKENS")
]
Temperature = Annotated[
    float | None,
    option(_SAMPLING, "--temperature", text="Divides log-probabilities; 0 is greedy. Default: 1.", metavar="NUMBER"),
]
TopP = Annotated[
    float | None,
    option(
        _SAMPLING,
        "--top-p",
        text="Keep the smallest set of tokens with this probability. Default: 1, all.",
        metavar="PROBABILITY",
    ),
]
TopK = Annotated[
    int | None, option(_SAMPLING, "--top-k", text="Keep so many likeliest tokens. Default: all.", metavar="TOKENS")
]
MinP = Annotated[
    float | None,
    option(
        _SAMPLING,
        "--min-p",
        text="Drop tokens below this share of the likeliest one's probability. Default: 0, none.",
        metavar="SHARE",
    ),
]
RepetitionPenalty = Annotated[
    float | None,
    option(
        _SAMPLING, "--repetition-penalty", text="Factor against tokens said before. Default: 1, none.", metavar="FACTOR"
    ),
]
Stop = Annotated[
    list[str] | None,
    option(_SAMPLING, "--stop", text="Stop before this text; may be given several times.", metavar="TEXT"),
]
Seed = Annotated[
    int | None,
    option(_SAMPLING, "--seed", text="Decides every draw; sample i has seed + i. Default: 0.", metavar="NUMBER"),
]
Samples = Annotated[
    int | None, option(_SAMPLING, "--samples", text="Texts for each prompt. Default: 1.", metavar="TEXTS")
]

Dtype = Annotated[
    str | None,
    option(
        _RUNNING,
        "--dtype",
        text="Number format of the weights: auto, float32, bfloat16, float16 or float64. Default: auto.",
        metavar="NAME",
    ),
]
Device = Annotated[
    str | None,
    option(_RUNNING, "--device", text="Where to compute: auto, cpu, cuda ... Default: auto.", metavar="NAME"),
]
Engine = Annotated[
    str | None,
    option(
        _RUNNING,
        "--engine",
        text="What computes: torch; native, which compiles kernels for this processor once (Llama and its kin; needs "
        "a C compiler); or llamacpp (.gguf files; needs the extra 'llamacpp'). Default: auto, which is llamacpp for "
        ".gguf files and the catalogue where it is installed and there is no GPU, else torch.",
        metavar="NAME",
    ),
]
Quantization = Annotated[
    str | None,
    option(
        _RUNNING,
        "--quantization",
        text="Round the weights: none, or int4, which is faster on a CPU for a few rows at once, and worse unless they "
        "come from a 4-bit file. Default: none.",
        metavar="NAME",
    ),
]
Batch = Annotated[
    int | None, option(_RUNNING, "--batch", text="Samples in progress at once. Default: 32.", metavar="SAMPLES")
]
Speculate = Annotated[
    str | None,
    option(
        _RUNNING,
        "--speculate",
        text="Let a part of the formula draft: off, auto (measured), or stages such as 'small:4' or 'prompt:8' (copy "
        "from the context). Texts keep their law. Default: off.",
        metavar="off|auto|STAGES",
    ),
]
Draft = Annotated[
    str | None,
    option(_RUNNING, "--draft", text="A formula over the voice's terms that drafts for its own.", metavar="TEXT"),
]


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave; the others leave the voice as it is."""
    return {name: value for name, value in options.items() if value not in (None, [])}
