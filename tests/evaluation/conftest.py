"""Voices of which everything can be worked out, and judges that count how often they are asked."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import lmalgebra as la
from lmalgebra.decoding import ComposedVoice
from lmalgebra.evaluation.measures.base import Answers
from lmalgebra.evaluation.statistics import Quantity
from lmalgebra.prompt_sets.reading import Item


@pytest.fixture
def toy() -> ComposedVoice:
    """The exact toy model, which says letters."""
    return la.voice(la.model("toy").term(name="base", prefix=""), max_new_tokens=6, samples=3)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def answers(*texts: Sequence[str], prompts: Sequence[str] = (), **fields: Sequence) -> Answers:
    """Texts for each prompt; `fields` have a value for each item."""
    names = prompts or [f"prompt {number}" for number in range(len(texts))]
    told = [{key: values[place] for key, values in fields.items()} for place in range(len(texts))]
    return Answers([Item(name, each) for name, each in zip(names, told, strict=True)], texts)


def values(quantities: dict[str, Quantity]) -> dict[str, float]:
    return {key: round(quantity.value, 6) for key, quantity in quantities.items()}
