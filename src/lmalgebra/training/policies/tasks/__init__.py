"""Tasks that policies are trained for: prompts, reward, generation and evaluation, by the names that settings have.

The five of Inference-Time Policy Adapters (Lu et al., EMNLP 2023, arXiv 2305.15065) come with the package, one TOML
file each, which says where it differs from the paper. Every value is a default that a file of settings or the command
line replaces.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.prompt_sets import ROWS
from lmalgebra.settings_file import check_kinds, check_ranges

TASKS = ("toxicity", "constrained", "open_ended", "dialogue_safety", "grounded_dialogue")
"""The names of the packaged tasks."""

_MOST = 1 << 30


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """Which prompts there are, and what is said after them. Raises TrainingError for a value of the wrong kind or out
    of range.

    `prompts` is a file of JSON Lines or `hub:owner/name@revision:split`; `rows` says how a row is read, by the field it
    must have, and `template` (Jinja over its fields) what is asked. `count` of them are drawn by `draw`, and of those
    the share `held_out`, which is only judged.

    Completions have at most `max_new_tokens` tokens and are sampled at `temperature` from the smallest set of tokens
    that holds `top_p`.
    """

    prompts: str
    rows: str = "prompt"
    template: str = ""
    count: int | None = None
    draw: int = 0
    held_out: float = 0.1
    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_kinds(self, TrainingError)
        check_ranges(self, RANGES, TrainingError)
        require_text(self, "prompts")
        if self.rows not in ROWS:
            raise TrainingError(f"rows = {self.rows!r} is no way to read a row.", _known(self.rows, tuple(ROWS)))


@dataclass(frozen=True, kw_only=True)
class TaskSettings(PromptSettings):
    """What is to be learned, and on which prompts. Raises TrainingError for a value of the wrong kind or out of range.

    `reward` is a formula over components (see `rewards.written`). The final evaluation is the suite `evaluate_suite` by
    `evaluate_judges`, on `evaluate_count` of the prompts held out ("none": no evaluation).
    """

    reward: str
    evaluate_suite: str = "none"
    evaluate_judges: tuple[str, ...] = ()
    evaluate_count: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"evaluate_count": (1, _MOST)}, TrainingError)
        require_text(self, "reward")


RANGES = {
    "count": (2, _MOST),
    "draw": (0, _MOST),
    "held_out": (0.0001, 0.9),
    "max_new_tokens": (1, 1 << 16),
    "temperature": (0.01, 100),
    "top_p": (0.01, 1),
}
"""The least and most of the settings that are numbers."""


def require_text(settings: Any, *names: str) -> None:
    """Raise TrainingError for a setting that is empty."""
    for name in names:
        if not getattr(settings, name).strip():
            raise TrainingError(f"{name} is empty.", "Give it a value.")


def task_values(name: str) -> dict[str, Any]:
    """The settings that a packaged task gives. Raises TrainingError with the names there are."""
    if name not in TASKS:
        raise TrainingError(f"There is no task '{name}'.", _known(name, TASKS))
    return tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _known(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
