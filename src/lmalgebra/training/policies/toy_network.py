"""The smallest language model that learns: a table of logits over the exact toy vocabulary.

Everything it says can be summed, and its gradient is exact in float64, so that what an objective claims can be proved
on it. It is a whole model, to stand for the adapter in `base + tilt(adapter)` over toys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from lmalgebra.algebra import Model, ModelTerm
from lmalgebra.errors import TrainingError
from lmalgebra.models.base import LanguageModel, Row
from lmalgebra.models.counted import CountedRow, CountedSession
from lmalgebra.models.rows import check_length, wanted_logits
from lmalgebra.models.table import CONTEXT_LENGTH, TableModel, TableTokenizer
from lmalgebra.training.policies.trainee import Trainee

TABLE = "table.json"
LARGEST = 1 << 24
"""Most logits of a table: 128 MB."""

_numbers = count(1)


class ToyNetwork(Trainee):
    """Logits that depend on the last `order` tokens of a text, or of what there is of it, and with `sees_first` also on
    its first token, so that a control text can reach it. They begin at 0, or are drawn with `spread` by `seed`.

    `table` gives the vocabulary: `TableModel()` has that of `la.model("toy")`. Raises TrainingError for a table of
    more than `LARGEST` logits.
    """

    def __init__(
        self, table: TableModel, *, order: int = 1, sees_first: bool = False, spread: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.table, self.order, self.sees_first = table, order, sees_first
        self._size = len(table.pieces)
        contexts = (self._size + 1) ** order * (self._size if sees_first else 1)
        if contexts * self._size > LARGEST:
            raise TrainingError(f"A table of order {order} over {self._size} pieces is too large.", "Lower order.")
        draw = torch.Generator().manual_seed(seed)
        start = spread * torch.randn(contexts, self._size, dtype=torch.float64, generator=draw)
        self.table_logits = nn.Parameter(start)
        name = f"toy-network-{next(_numbers)}"
        self.model = Model(source=name, name=name)
        self.language_model = LanguageModel(name, _ToySession(self), TableTokenizer(table), f"{name}, float64")

    def logits(self, texts: Sequence[Sequence[int]], wanted: Sequence[int]) -> Tensor:
        """See `Trainee`; float64."""
        rows = []
        for text, number in zip(texts, wanted, strict=True):
            check_length(len(text), CONTEXT_LENGTH)
            rows += [self._row(text[:end]) for end in range(len(text) - number + 1, len(text) + 1)]
        return self.table_logits[rows]

    def _row(self, context: Sequence[int]) -> int:
        """Which row of the table speaks after `context`: its tokens from 1 on, written as one number."""
        row = context[0] if self.sees_first else 0
        last = list(context[len(context) - self.order :]) if len(context) >= self.order else list(context)
        for token in [-1] * (self.order - len(last)) + last:
            row = row * (self._size + 1) + token + 1
        return row

    def spoken(self, description: ModelTerm) -> ModelTerm:
        return replace(description, model=self.model, adapter=None)

    def untrained(self, description: ModelTerm) -> None:
        return None

    def renew(self) -> None:
        """The engine reads the parameters themselves."""

    def save(self, folder: Path) -> None:
        """As a table, which a term takes by `la.model("FOLDER/table.json")`. Raises TrainingError for a network that no
        table says, or pieces that its file cannot name."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TABLE).write_text(json.dumps(self._as_table()), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        found = TableModel.from_file(folder / TABLE)
        with torch.no_grad():
            for context, probabilities in found.rows.items():
                row = self._row([self.table.pieces.index(piece) for piece in context])
                self.table_logits[row] = torch.tensor(probabilities, dtype=torch.float64).log()

    def _as_table(self) -> dict[str, object]:
        pieces = self.table.pieces
        if self.sees_first or (self.order and any(piece != piece.strip() or not piece for piece in pieces)):
            raise TrainingError(
                "This toy network cannot be written as a table.", "Use pieces without spaces, and sees_first=False."
            )
        rows = {}
        for context in _contexts(self._size, self.order):
            logits = self.table_logits[self._row(context)].detach()
            rows[" ".join(pieces[token] for token in context)] = logits.softmax(-1).tolist()
        return {"pieces": list(pieces), "end": self.table.end, "order": self.order, "rows": rows}


def _contexts(size: int, order: int) -> list[list[int]]:
    """All texts of at most `order` tokens."""
    found: list[list[int]] = [[]]
    latest = found
    for _ in range(order):
        latest = [[*text, token] for text in latest for token in range(size)]
        found = found + latest
    return found


class _ToySession(CountedSession):
    """Rows of a toy network, which follow its parameters."""

    def __init__(self, network: ToyNetwork) -> None:
        super().__init__(None)
        self._network = network
        self.context_length = CONTEXT_LENGTH
        self.vocabulary_size = len(network.table.pieces)
        self.device = torch.device("cpu")

    def _copy(self, original: CountedRow, twin: CountedRow) -> None: ...

    def _forget(self, row: CountedRow) -> None: ...

    @torch.inference_mode()
    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        after, counts = self._after(tokens), wanted_logits(tokens, wanted)
        results = {row: self._network.logits([held], [counts[row]]) for row, held in after.items()}
        self._hold(after)
        return results
