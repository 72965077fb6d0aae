"""`lmalgebra lm-eval`: the command line of lm-evaluation-harness, which finds no models of other packages by itself."""

import sys
from typing import TYPE_CHECKING, Any

import typer

from lmalgebra.errors import EvaluationError, MissingExtraError

if TYPE_CHECKING:
    from lmalgebra.evaluation.utility.voice_model import VoiceLM

NAME = "lmalgebra"
PLACED = ("max_batch_size", "device")
"""What the harness gives to every model, and a voice file says of each of its own."""


def lm_eval(context: typer.Context) -> None:
    """Run lm-evaluation-harness with voices as a model: --model lmalgebra --model_args voice=VOICE.toml.

    Everything else is as its own command lm-eval has it; for its help, add --help.
    """
    try:
        from lm_eval.__main__ import cli_evaluate
        from lm_eval.api.registry import model_registry
    except ImportError:
        raise MissingExtraError(
            "This needs the package 'lm-eval'.", "Install it: pip install 'lmalgebra[utility]'."
        ) from None
    import lm_eval.models  # noqa: F401 - registers the others, which it does not where one is there already

    if NAME not in model_registry:
        model_registry.register(NAME, target=_model())
    sys.argv = ["lm-eval", *context.args]
    cli_evaluate()


def _model() -> "type[VoiceLM]":
    """The model that the harness makes of `--model_args`."""
    from lmalgebra.evaluation.utility.voice_model import VoiceLM

    class VoiceOfFile(VoiceLM):  # type: ignore[misc]
        """A voice by its file, or by another formula over the file's terms."""

        def __init__(self, voice: str = "", formula: str | None = None, batch_size: Any = None, **others: Any) -> None:
            from lmalgebra.models.store import cache_folder

            super().__init__(_voice(voice, formula, batch_size, others), cache_folder() / "evaluation")

    return VoiceOfFile


def _voice(file: str, formula: str | None, batch_size: Any, others: dict[str, Any]) -> Any:
    """The voice that `--model_args` names. Raises EvaluationError."""
    from pathlib import Path

    from lmalgebra.algebra import load_voice
    from lmalgebra.cli.voices import model_registry, open_voice, with_formula

    unknown = [key for key in others if key not in PLACED]
    if not file or unknown:
        trouble = f"--model_args has no {unknown[0]} for voices." if unknown else "--model_args names no voice."
        raise EvaluationError(trouble, "Write --model_args voice=VOICE.toml, and formula=FORMULA for another formula.")
    batch = int(batch_size) if str(batch_size).isdecimal() else None
    found = load_voice(Path(file))
    return open_voice(found if formula is None else with_formula(found, formula), model_registry(), batch)
