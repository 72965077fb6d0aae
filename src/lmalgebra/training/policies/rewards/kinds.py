"""The kinds of components by name. A new one is a `Component`, a frozen dataclass of its settings, and a line here.

A component's fields are its arguments in the text of a reward, in their order.
"""

from __future__ import annotations

from typing import Any

from lmalgebra.training.policies.rewards.called import Called
from lmalgebra.training.policies.rewards.counted import Coverage, Length, Order, Repetition
from lmalgebra.training.policies.rewards.judged import Faithful, Fluent, Human, Judged, NonToxic, Safe

KINDS: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (Judged, NonToxic, Fluent, Human, Safe, Faithful, Coverage, Order, Length, Repetition, Called)
}
