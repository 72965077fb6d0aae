"""What a writer is asked of a text: a template filled in, after examples that are shown as turns which went before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lmalgebra.decoding.context import Conversation, conversation
from lmalgebra.judges.template import Template
from lmalgebra.models.base import Message


@dataclass(frozen=True)
class Question:
    """A `template` over `text` and other fields, and `examples`: texts, and what is to be said of each.

    Models that are too small to follow an instruction alone go by the examples. Raises EvaluationError for what is no
    template.
    """

    template: Template
    examples: Mapping[str, str] = field(default_factory=dict)

    def about(self, text: str, fields: Mapping[str, Any]) -> Conversation:
        """The conversation that asks it of a text. Raises EvaluationError for a field that is not there."""
        turns: list[Message] = []
        for source, said in self.examples.items():
            turns += [self._asked(source, fields), Message(role="assistant", content=said)]
        return conversation([*turns, self._asked(text, fields)])

    def _asked(self, text: str, fields: Mapping[str, Any]) -> Message:
        return Message(role="user", content=self.template.fill({**fields, "text": text}))
