"""An exact toy model: its next-token distributions are a table, or are computed from a seed, in float64.

Everything that is claimed of distributions can be checked against it by summing. It ships with the library, so that
formulas, voice files and the command line can be tried and tested without any weights.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lmalgebra.algebra.adapter import Adapter, AdapterSum, summands
from lmalgebra.errors import ModelError, PromptError
from lmalgebra.models.base import LanguageModel, Message, Parts, Row, TextStream, Tokenizer
from lmalgebra.models.counted import CountedRow, CountedSession
from lmalgebra.models.engines import is_toy
from lmalgebra.models.rows import wanted_logits

END = "<end>"
TOY_PIECES = (*"abcdefghijklmnopqrstuvwxyz0123456789 .,:;!?'\"()-\n", END)
CONTEXT_LENGTH = 4096


@dataclass(frozen=True)
class TableModel:
    """Distributions over the pieces of a small vocabulary; the last tokens of a context choose the row of the table.

    `rows` maps a context (its last `order` tokens, as pieces) to probabilities. A context that is not in `rows` has
    the distribution of a softmax over `sharpness` times normal numbers drawn from `seed` and the context; `order=None`
    looks at the whole context. The piece `end` ends a text.
    """

    pieces: tuple[str, ...] = TOY_PIECES
    end: str = END
    seed: int = 0
    order: int | None = None
    sharpness: float = 1.5
    rows: Mapping[tuple[str, ...], tuple[float, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if len(set(self.pieces)) != len(self.pieces) or self.end not in self.pieces:
            raise ModelError(f"A table's pieces must differ and contain its end piece {self.end!r}.")
        for context, probabilities in self.rows.items():
            if len(probabilities) != len(self.pieces) or abs(sum(probabilities) - 1) > 1e-9 or min(probabilities) < 0:
                raise ModelError(
                    f"The table's row for {' '.join(context)!r} is not a distribution over {len(self.pieces)} pieces.",
                    "Give as many probabilities as there are pieces, none negative, that sum to 1.",
                )

    @classmethod
    def from_source(cls, source: str) -> "TableModel":
        """The toy that `source` names. Raises ModelError for a seed that is no number or a file that is no table."""
        if source.endswith(".json"):
            return cls.from_file(Path(source).expanduser())
        seed = source.partition(":")[2] or "0"
        if not seed.isdecimal():
            raise ModelError(f"'{source}' names no toy model.", "Write 'toy' or, with a seed, 'toy:7'.")
        return cls(seed=int(seed))

    @classmethod
    def from_file(cls, path: Path) -> "TableModel":
        """Read `{"pieces": [...], "end": ..., "order": ..., "seed": ..., "rows": {"a b": [...]}}`; see the class."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            rows = {tuple(context.split()): tuple(row) for context, row in data.pop("rows", {}).items()}
            return cls(pieces=tuple(data.pop("pieces")), rows=rows, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"'{path}' is not a table of a toy model: {error}.",
                'It is JSON with "pieces" and, where wanted, "end", "order", "seed", "sharpness" and "rows".',
            ) from error

    def logprobs(self, context: Sequence[int]) -> Tensor:
        """Log-probabilities of the token after `context`, float64 `[vocabulary]`; -inf where the table says 0."""
        start = 0 if self.order is None else max(0, len(context) - self.order)
        return _logprobs(self, tuple(context[start:]))

    def language_model(self, source: str = "toy") -> LanguageModel:
        """A session and tokenizer over this table."""
        summary = f"exact toy model, {len(self.pieces)} tokens, float64"
        return LanguageModel(source, TableSession(self), TableTokenizer(self), summary)


@lru_cache(maxsize=4096)
def _logprobs(table: TableModel, context: tuple[int, ...]) -> Tensor:
    row = table.rows.get(tuple(table.pieces[token] for token in context))
    if row is not None:
        return torch.tensor(row, dtype=torch.float64).log()
    draw = random.Random(f"{table.seed}:{context}")
    scores = [draw.gauss(0, table.sharpness) for _ in table.pieces]
    return torch.tensor(scores, dtype=torch.float64).log_softmax(-1)


class TableSession(CountedSession):
    """Rows of a `TableModel`; `computed` counts the tokens read, to show what forking saves.

    With `max_cache_tokens` it refuses rows as a session with a cache of so many tokens does, to the token.
    """

    def __init__(
        self, table: TableModel, context_length: int = CONTEXT_LENGTH, max_cache_tokens: int | None = None
    ) -> None:
        super().__init__(max_cache_tokens)
        self._table = table
        self.context_length = context_length
        self.vocabulary_size = len(table.pieces)
        self.device = torch.device("cpu")
        self.computed = 0
        self._laid_over: dict[str, TableModel] = {}

    def load_adapter(self, adapter: Adapter) -> None:
        """An adapter of a toy is another one of the same pieces, `toy:SEED`: its log-probabilities are added."""
        for place, _ in summands(adapter):
            if place.endswith(".json") or not is_toy(place):
                raise ModelError(
                    f"The adapter '{place}' cannot be used: this model is a toy.",
                    "A toy's adapter is another toy, such as 'toy:7'.",
                )
            self._laid_over[place] = replace(self._table, seed=TableModel.from_source(place).seed, rows={})

    def _copy(self, original: CountedRow, twin: CountedRow) -> None: ...

    def _forget(self, row: CountedRow) -> None: ...

    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        after, counts = self._after(tokens), wanted_logits(tokens, wanted)
        results = {row: self._logits(held, self._rows[row].adapters, counts[row]) for row, held in after.items()}
        unread = sum(len(held) - self._rows[row].read for row, held in after.items())
        self._hold(after)
        self.computed += unread
        return results

    def _logits(self, held: list[int], adapters: AdapterSum, wanted: int) -> Tensor:
        found = [self._logprobs(held[: end + 1], adapters) for end in range(len(held) - wanted, len(held))]
        return torch.stack(found) if found else torch.empty(0, self.vocabulary_size, dtype=torch.float64)

    def _logprobs(self, held: list[int], adapters: AdapterSum) -> Tensor:
        scores = self._table.logprobs(held)
        for place, weight in adapters:
            scores = scores + weight * self._laid_over[place].logprobs(held)
        return scores.log_softmax(-1) if adapters else scores


class TableTokenizer(Tokenizer):
    """Splits text into the longest pieces of the table; characters outside them are refused by name."""

    has_chat_template = True

    def __init__(self, table: TableModel) -> None:
        self._pieces = table.pieces
        self._vocabulary = {piece: token for token, piece in enumerate(table.pieces)}
        self._end = table.end
        self._longest = max(map(len, table.pieces))
        self.end_tokens = frozenset([self._vocabulary[table.end]])

    @property
    def vocabulary(self) -> Mapping[str, int]:
        return self._vocabulary

    def has_control(self, text: str) -> bool:
        return False

    def encode(self, parts: Parts, start: bool = True) -> list[int]:
        text, tokens, at = "".join(parts).lower(), [], 0
        while at < len(text):
            piece = self._piece_at(text, at)
            tokens.append(self._vocabulary[piece])
            at += len(piece)
        return tokens

    def _piece_at(self, text: str, at: int) -> str:
        for size in range(self._longest, 0, -1):
            piece = text[at : at + size]
            if piece in self._vocabulary and piece != self._end:
                return piece
        raise PromptError(
            f"The toy model cannot spell {text[at]!r}.", f"Its pieces are {' '.join(map(repr, self._pieces))}."
        )

    def chat(self, messages: Sequence[Message], chat_template: str | None = None) -> str:
        return "\n".join(message["content"] for message in messages) + "\n"

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in tokens if token not in self.end_tokens)

    def stream(self) -> TextStream:
        return _TableStream(self)

    def piece(self, token: int) -> bytes:
        return b"" if token in self.end_tokens else self._pieces[token].encode()


class _TableStream(TextStream):
    def __init__(self, tokenizer: TableTokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def finish(self) -> str:
        return ""
