"""Any Python function as a component."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from lmalgebra.errors import EvaluationError, TrainingError
from lmalgebra.judges.functions import imported_function, source_digest
from lmalgebra.training.policies.rewards.base import Said
from lmalgebra.training.policies.rewards.component import Component

SAID = "said"
"""The name of a function's first parameter that asks for `Said`, with prompt and fields, in place of texts."""


@dataclass(frozen=True)
class Called(Component):
    """What the function at `module:function` returns: as many numbers as there are texts, of any size.

    It is given a list of texts, or of `Said` where its first parameter is called `said`.
    """

    kind: ClassVar[str] = "python"
    function: str

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._function  # noqa: B018  # what cannot be imported is told before training
        except EvaluationError as error:
            raise TrainingError(error.message.replace("The judge", "The reward", 1), error.hint) from None

    def about(self) -> dict[str, Any]:
        return super().about() | {"revision": source_digest(self.function.partition(":")[0])}

    @cached_property
    def _function(self) -> Callable[[list[Any]], Sequence[float]]:
        return imported_function(self.function)

    @cached_property
    def _wants_said(self) -> bool:
        try:
            return next(iter(inspect.signature(self._function).parameters), "") == SAID
        except (TypeError, ValueError):  # of some functions written in C
            return False

    def __call__(self, said: Sequence[Said]) -> Sequence[float]:
        return self._function(list(said) if self._wants_said else [each.text for each in said])
