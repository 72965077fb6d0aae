"""`lmalgebra train distill`: let a small model learn to speak like a larger one, or like any formula."""

from typing import TYPE_CHECKING, Any

from lmalgebra.cli import train_adapter
from lmalgebra.cli.console import say
from lmalgebra.cli.launched import first_speaks
from lmalgebra.cli.options import given
from lmalgebra.cli.settings_options import Setting, take_options
from lmalgebra.cli.stopping import stop_when_asked
from lmalgebra.cli.train_progress import steps_told
from lmalgebra.cli.voices import model_registry

if TYPE_CHECKING:
    from lmalgebra.training.policies.distillation.train import Distilled

_TASK, _TEACHER, _STUDENT = "What is said", "The teacher", "The student"

OWN = (
    Setting(_TASK, "texts", str, "teacher|student|given", "teacher", "Whose texts it learns on."),
    Setting(_TASK, "answer", str, "FIELD", "continuation", "Where given texts stand in a line."),
    Setting(_TEACHER, "voice", str, "VOICE.toml", "none", "The voice that is the teacher."),
    Setting(_TEACHER, "formula", str, "TEXT", "the voice's", "Another formula over its terms."),
    Setting(_TEACHER, "model", str, "NAME", "none", "In place of a voice: the teacher, continuing texts."),
    Setting(_STUDENT, "train", str, "TERM", "student", "Its term in the voice, or its name."),
    Setting(_STUDENT, "student_model", str, "NAME", "none", "What it is where the voice has no such term."),
    Setting(_STUDENT, "kind", str, "lora|model", "model", "Low-rank changes of its model, or all its weights."),
    Setting(_TASK, "samples", int, "TEXTS", "1", "Texts after each prompt."),
    Setting(_STUDENT, "epochs", float, "TIMES", "1", "In a step, over its texts."),
    Setting(_STUDENT, "batch_size", int, "TEXTS", "8", "Texts of an update."),
)
"""What the command has of its own, or means otherwise than `lmalgebra train adapter` by the same name."""

_SHARED = (
    (_TASK, ("prompts", "rows", "template", "count", "draw", "held_out", "prompts_per_step")),
    (_TASK, ("max_new_tokens", "temperature", "top_p")),
    (_STUDENT, ("rank", "alpha", "targets", "layers", "hidden_size")),
    ("How it learns", ("steps", "learning_rate", "warmup", "weight_decay", "max_grad_norm")),
    (train_adapter.RUNNING, ("validation_steps", "checkpoint_steps", "precision", "gradient_checkpointing")),
    (train_adapter.RUNNING, ("trackers", "seed", "device", "output")),
)
_OTHERWISE = {
    "temperature": "At which they are drawn.",
    "top_p": "Nucleus of which they are drawn.",
}


def _settings() -> tuple[Setting, ...]:
    known = {each.name: each for each in train_adapter.SETTINGS}
    shared = [
        known[name]._replace(panel=panel, text=_OTHERWISE.get(name, known[name].text))
        for panel, names in _SHARED
        for name in names
    ]
    return tuple(sorted((*OWN, *shared), key=lambda each: _PANELS.index(each.panel)))


_PANELS = [_TEACHER, _STUDENT, _TASK, "How it learns", train_adapter.RUNNING]

SETTINGS = _settings()
"""All settings, in the order of the help text."""


def distill(config: str | None = None, resume: bool = False, **options: Any) -> None:
    """Let a small model learn to speak like a larger one, or like any formula.

    Ctrl-C leaves a checkpoint, from which --resume goes on.
    """
    from lmalgebra.training.policies.distillation.settings import load_settings
    from lmalgebra.training.policies.distillation.train import train_student

    with first_speaks() as is_first:
        settings, models = load_settings(config, given(**options)), model_registry()
        with steps_told(_numbers) as advance, stop_when_asked() as stop:
            distilled = train_student(
                settings, models, models.scorer, resume=resume, report=say, advance=advance, stop=stop
            )
    if is_first:
        _tell(distilled)


take_options(distill, SETTINGS)


def _numbers(measured: dict[str, Any]) -> str:
    if "kl" not in measured:
        return "no text to learn from"
    return f"{measured['kl']:.4f} nats per token from the teacher"


def _tell(distilled: "Distilled") -> None:
    """The student before and after on held-out prompts, beside its teacher, and how to use it."""
    from lmalgebra.training.policies.distillation.train import likeness_rows
    from lmalgebra.training.policies.result import VOICE

    if distilled.ended:
        say(f"{distilled.ended} What was learned before is kept.", "yellow")
    rows = likeness_rows(distilled.validation)
    width = max(len(name) for name, *_ in rows)
    print(f"{'on held-out prompts':<{width}}  {'before':>8}  {'after':>8}  {'teacher':>8}")
    print("\n".join(f"{name:<{width}}  {a:>8.4f}  {b:>8.4f}  {c:>8.4f}" for name, a, b, c in rows))
    say(f"Wrote {distilled.folder}. It speaks by: lmalgebra run {distilled.folder / VOICE} --prompt TEXT")
