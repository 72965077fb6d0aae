"""What the components of this library share: settings that are checked, and a name that is how they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from lmalgebra.errors import TrainingError
from lmalgebra.judges import Score
from lmalgebra.settings_file import check_kinds
from lmalgebra.training.policies.rewards.base import Said


@dataclass(frozen=True)
class Component(ABC):
    """A component by its settings. `kind` is its name in the text of a reward; `unnamed` fields are not part of `name`.

    Raises TrainingError for a setting of the wrong kind.
    """

    kind: ClassVar[str]
    unnamed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_kinds(self, TrainingError)

    @property
    def name(self) -> str:
        """How it is written, without quotes and without what is as usual."""
        told = [(each, getattr(self, each.name)) for each in fields(self) if each.name not in self.unnamed]
        changed = [
            _shown(value) if place == 0 else f"{each.name}={_shown(value)}"
            for place, (each, value) in enumerate(told)
            if value != each.default
        ]
        return f"{self.kind}({', '.join(changed)})" if changed else self.kind

    def about(self) -> dict[str, Any]:
        """Its settings by their names."""
        return {"kind": self.kind} | {each.name: getattr(self, each.name) for each in fields(self)}

    @abstractmethod
    def __call__(self, said: Sequence[Said]) -> Sequence[Score]:
        """The score of each completion, or why it has none."""


def field_of(said: Said, name: str, kind: str) -> Any:
    """What is known under `name` of a completion's prompt. Raises TrainingError: without it no text can be scored."""
    if name not in said.fields:
        known = ", ".join(said.fields) or "none"
        raise TrainingError(
            f"The reward '{kind}' reads the field '{name}', which the prompt {_start(said)} lacks.",
            f"Its fields are: {known}. Name another, as in {kind}(field=...), or other prompts.",
        )
    return said.fields[name]


def _start(said: Said) -> str:
    text = repr(said.prompt)
    return text if len(text) <= 60 else text[:59] + "…"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
