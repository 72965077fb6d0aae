"""Values of texts that are computed once and kept for a while."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Text = TypeVar("Text", bound=Hashable)
T = TypeVar("T")

REMEMBERED = 1 << 16
"""Texts whose values are kept: the text of a step was a candidate of the step before."""


class Remembered(Generic[Text, T]):
    """`compute`, which gives a value for each of several texts, without asking it twice for the last `most` of them."""

    def __init__(self, compute: Callable[[list[Text]], Iterable[T]], most: int = REMEMBERED) -> None:
        self._compute, self.most = compute, most
        self._known: OrderedDict[Text, T] = OrderedDict()

    def __call__(self, texts: Iterable[Text]) -> dict[Text, T]:
        """The value of each text; those not remembered are asked for at once. Raises what `compute` raises."""
        wanted = dict.fromkeys(texts)
        known = {text: self._known[text] for text in wanted if text in self._known}
        new = [text for text in wanted if text not in known]
        if new:
            known |= zip(new, self._compute(new), strict=True)
        for text, value in known.items():
            self._known[text] = value
            self._known.move_to_end(text)
        while len(self._known) > self.most:
            self._known.popitem(last=False)
        return known

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
