"""Sessions over a causal language model of Transformers.

`TransformersSession` serves every architecture whose attention can be plugged (see `attention`). `verify` decides
whether an architecture is one of them by comparing with the model's own forward pass; what is not falls back to
`RecomputeSession`, which is slower and exact for any causal model.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from lmalgebra.algebra.adapter import Adapter, AdapterSum, summands
from lmalgebra.errors import ModelError
from lmalgebra.models import attention
from lmalgebra.models.adapters import Adapters
from lmalgebra.models.attention import Piece, UnsupportedAttention, plan_pass
from lmalgebra.models.base import Ahead, Row, Session
from lmalgebra.models.counted import CountedRow, CountedSession
from lmalgebra.models.kv_cache import CachedRow, KVCache
from lmalgebra.models.peft_folder import LowRank
from lmalgebra.models.rows import RowTable, check_length, check_rewind, check_unused, fork_length, wanted_logits

PASS_TOKENS = 1024
"""Most new tokens in one forward pass; longer prompts are read in several."""

VERIFIED = frozenset({"gemma2", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"})
"""Model types whose agreement with Transformers the test suite shows, so that loading need not."""

AttentionInterface.register(attention.NAME, attention.attend)


class TransformersSession(Session):
    """Many rows over one model: their new tokens are packed into one forward pass without padding.

    `max_cache_tokens` bounds the key-value cache, in tokens over all rows. A pass of fewer than `smallest_pass`
    tokens is filled up with idle ones, where that makes it faster.
    """

    def __init__(
        self, model: PreTrainedModel, context_length: int, max_cache_tokens: int, smallest_pass: int = 1
    ) -> None:
        model.set_attn_implementation(attention.NAME)
        self.network = model.eval()
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.device = model.device
        self.adapters = Adapters(model)
        self._rows: RowTable[CachedRow] = RowTable()
        self.windows: dict[int, int | None] = {}  # of each layer's attention, once it ran
        self._smallest_pass = smallest_pass
        self.cache = KVCache(context_length, max_cache_tokens)
        self.context_length = context_length
        self.vocabulary_size = int(model.get_output_embeddings().out_features)

    @property
    def room_left(self) -> int:
        return self.cache.max_tokens - self.cache.used_tokens

    def open(self, tokens: Sequence[int] = (), adapter: Adapter | None = None, room: int = 0) -> Row:
        if adapter is not None:
            self.load_adapter(adapter)
        check_length(len(tokens), self.context_length)
        row = CachedRow(list(tokens), adapters=summands(adapter))
        self.cache.reserve(row, self._space(room, len(tokens)))
        return self._rows.add(row)

    def load_adapter(self, adapter: Adapter) -> None:
        self.adapters.load(adapter)

    def renew_adapter(self, place: str, changes: Mapping[str, LowRank]) -> None:
        check_unused(place, (row.adapters for row in self._rows))
        self.adapters.renew(place, changes)

    def forget_adapter(self, place: str) -> None:
        check_unused(place, (row.adapters for row in self._rows))
        self.adapters.forget(place)

    def fork(self, row: Row, length: int | None = None, room: int = 0) -> Row:
        original = self._rows[row]
        length = fork_length(length, len(original.tokens))
        if original.cached < length:
            self.extend({row: ()})
        return self._rows.add(self.cache.fork(original, length, self._space(room, length)))

    def _space(self, room: int, held: int) -> int:
        """Tokens that a row of `held` tokens takes space for from its beginning."""
        return min(max(room, held), self.context_length) if room else 0

    def park(self, row: Row) -> None:
        self.cache.park(self._rows[row])

    def rewind(self, row: Row, length: int) -> None:
        kept = self._rows[row]
        check_rewind(length, len(kept.tokens))
        del kept.tokens[length:]
        kept.cached = min(kept.cached, length)

    def close(self, row: Row) -> None:
        self.cache.release(self._rows.remove(row))

    def length(self, row: Row) -> int:
        return len(self._rows[row].tokens)

    @torch.inference_mode()
    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        counts = wanted_logits(tokens, wanted)
        return self._work({row: _Work(self._rows[row], new, counts[row]) for row, new in tokens.items()})

    @torch.inference_mode()
    def look_ahead(
        self, tokens: Mapping[Row, Sequence[int]], nexts: Mapping[Row, Sequence[Sequence[int]]]
    ) -> dict[Row, Ahead]:
        counts = wanted_logits(tokens, {row: len(each) for row, each in nexts.items()})
        work = {row: _Work(self._rows[row], new, counts[row], nexts[row]) for row, new in tokens.items()}
        found = self._work(work)
        return {row: Ahead(each[: counts[row]], each[counts[row] :]) for row, each in found.items()}

    def _work(self, work: Mapping[Row, "_Work"]) -> dict[Row, Tensor]:
        """Read what is to be read, and give the logits that are wanted of each row."""
        for item in work.values():
            check_length(item.reach, self.context_length)
        self.cache.reserve_all({item.row: len(item.tokens) for item in work.values()})
        by_row = {id(item.row): item for item in work.values()}
        for pieces in _passes(work.values()):
            self._run(pieces, by_row)
        for item in work.values():
            item.row.tokens, item.row.cached = item.tokens[: item.length], item.length
        return {row: item.result(self.vocabulary_size, self.device) for row, item in work.items()}

    def _run(self, pieces: list[Piece], by_row: dict[int, "_Work"]) -> None:
        """One forward pass; each row's wanted logits are added to its work."""
        device = self.network.device
        rows = plan_pass(pieces, device)
        ids, positions, wanted, counts, first = [], [], [], [], 0
        for piece in rows.pieces:
            item = by_row[id(piece.row)]
            ids += item.tokens[piece.start : piece.end]
            positions += piece.positions
            skipped = max(0, item.first_wanted - piece.start)
            counts.append(max(0, piece.count - skipped))
            wanted += range(first + min(skipped, piece.count), first + piece.count)
            first += piece.count
        rows.idle = max(0, self._smallest_pass - len(ids))
        index = None if len(wanted) == len(ids) else torch.tensor(wanted, dtype=torch.long, device=device)
        with self.adapters.over((piece.row.adapters, piece.count) for piece in rows.pieces):
            logits = self.forward(ids + [0] * rows.idle, positions + [0] * rows.idle, rows, index)[: len(wanted)]
        self.windows = rows.windows
        for piece, part in zip(rows.pieces, logits.split(counts), strict=True):
            by_row[id(piece.row)].logits.append(part)

    def forward(self, ids: list[int], positions: list[int], rows: attention.Layout, index: Tensor | None) -> Tensor:
        """The logits of the packed tokens that `index` names, `[wanted, vocabulary]`, or of all of them."""
        packed = {"input_ids": torch.tensor([ids], device=self.device)}
        packed["position_ids"] = torch.tensor([positions], device=self.device)
        if index is not None and self._keeps_logits:
            packed["logits_to_keep"] = index
        logits: Tensor = self.network(**packed, use_cache=False, rows=rows).logits[0]
        if index is not None and not self._keeps_logits:
            logits = logits[index]
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


class _Work:
    """What one pass over several rows does to one: the `tokens` to read, of which the first `length` stay, and the
    logits gathered on the way. `nexts` are alternatives to read after each of the last positions, which do not stay.
    """

    def __init__(self, row: CachedRow, new: Sequence[int], wanted: int, nexts: Sequence[Sequence[int]] = ()) -> None:
        self.row = row
        self.tokens = row.tokens + list(new)
        self.length = len(self.tokens)
        self.first_wanted = self.length - wanted
        self.logits: list[Tensor] = []
        self._depths: list[int] = []
        for depth, alternatives in enumerate(nexts, self.length + 1 - len(nexts)):
            self.tokens += alternatives
            self._depths += [depth] * len(alternatives)

    @property
    def reach(self) -> int:
        """Tokens of the longest text that is read."""
        return max([self.length, *(depth + 1 for depth in self._depths)])

    def piece(self, start: int, end: int) -> Piece:
        """The tokens at the places `start` to `end`."""
        if end <= self.length:
            return Piece(self.row, start, end)
        past = max(start, self.length)
        depths = [*range(start, past), *self._depths[past - self.length : end - self.length]]
        return Piece(self.row, start, end, depths)

    def result(self, vocabulary_size: int, device: torch.device) -> Tensor:
        parts = [part for part in self.logits if len(part)]
        if not parts:
            return torch.empty(0, vocabulary_size, device=device)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _passes(work: Iterable[_Work]) -> Iterator[list[Piece]]:
    """Cut what is not cached into passes of at most `PASS_TOKENS` tokens; a row is in a pass at most once."""
    pieces: list[Piece] = []
    room = PASS_TOKENS
    for item in work:
        start = item.row.cached
        while start < len(item.tokens):
            end = min(len(item.tokens), start + room)
            pieces.append(item.piece(start, end))
            room -= end - start
            start = end
            if not room:
                yield pieces
                pieces, room = [], PASS_TOKENS
    if pieces:
        yield pieces


class RecomputeSession(CountedSession):
    """Any causal model, exactly and slowly: each row is read from its start whenever it is extended."""

    def __init__(self, model: PreTrainedModel, context_length: int, note: str) -> None:
        super().__init__(max_cache_tokens=None)
        self.network = model.eval()
        self.adapters = Adapters(model)
        self.device = model.device
        self.context_length = context_length
        self.vocabulary_size = int(model.get_output_embeddings().weight.shape[0])
        self.notes = (note,)

    def load_adapter(self, adapter: Adapter) -> None:
        self.adapters.load(adapter)

    def renew_adapter(self, place: str, changes: Mapping[str, LowRank]) -> None:
        check_unused(place, (row.adapters for row in self._rows))
        self.adapters.renew(place, changes)

    def forget_adapter(self, place: str) -> None:
        check_unused(place, (row.adapters for row in self._rows))
        self.adapters.forget(place)

    @torch.inference_mode()
    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        after, counts = self._after(tokens), wanted_logits(tokens, wanted)
        results = {row: self._read(held, self._rows[row].adapters, counts[row]) for row, held in after.items()}
        self._hold(after)
        return results

    def _copy(self, original: CountedRow, twin: CountedRow) -> None: ...

    def _forget(self, row: CountedRow) -> None: ...

    def _read(self, tokens: list[int], adapters: AdapterSum, wanted: int) -> Tensor:
        if not wanted:
            return torch.empty(0, self.vocabulary_size, device=self.device)
        with self.adapters.over([(adapters, len(tokens))]):
            out = plain_logits(self.network, tokens)[len(tokens) - wanted :]
        return out.float() if out.dtype in (torch.bfloat16, torch.float16) else out


@torch.inference_mode()
def plain_logits(model: PreTrainedModel, tokens: Sequence[int]) -> Tensor:
    """The model's own logits for one row read from its start, `[tokens, vocabulary]`."""
    logits: Tensor = model(input_ids=torch.tensor([list(tokens)], device=model.device), use_cache=False).logits[0]
    return logits


def why_not_served(model: PreTrainedModel, context_length: int) -> str:
    """Why `TransformersSession` cannot serve `model` exactly; empty when it can.

    Leaves the model with the attention that it came with. Raises ModelError for a model that is not causal.
    """
    own = model.config._attn_implementation
    try:
        return _unsupported_config(model) or _disagreement(model, context_length)
    except UnsupportedAttention as error:
        return f"its attention asks for {error}"
    finally:
        model.set_attn_implementation(own)


def _unsupported_config(model: PreTrainedModel) -> str:
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {str(each.get("rope_type", "default")) for each in (rope, *rope.values()) if isinstance(each, dict)}
    if kinds & {"dynamic", "longrope"}:
        return "its rotary positions depend on the longest row of a pass"
    layers = set(getattr(config, "layer_types", None) or ())
    if layers - {"full_attention", "sliding_attention"}:
        return f"it has layers of type {', '.join(sorted(layers))}"
    return ""


def _disagreement(model: PreTrainedModel, context_length: int) -> str:
    """Compare packed, ragged, resumed rows with the model's own forward pass on a few tokens."""
    if model.config.model_type in VERIFIED:
        return ""
    vocabulary = int(model.config.get_text_config().vocab_size)
    texts = [[(7 * i + 3) % vocabulary for i in range(11)], [(5 * i + 1) % vocabulary for i in range(4)]]
    expected = [plain_logits(model, tokens).float() for tokens in texts]
    if not torch.allclose(
        plain_logits(model, texts[0][:6]).float(), expected[0][:6], rtol=0, atol=_tolerance(model, expected[0])
    ):
        raise ModelError("This model looks ahead: a token's logits depend on later tokens, so it cannot generate text.")
    try:
        session = TransformersSession(model, context_length, max_cache_tokens=4096)
        rows = [session.open() for _ in texts]
        first = session.extend({row: tokens[:3] for row, tokens in zip(rows, texts, strict=True)})
        rest = session.extend({row: tokens[3:] for row, tokens in zip(rows, texts, strict=True)})
    except UnsupportedAttention:
        raise
    except (ModelError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        return f"its attention cannot be plugged ({type(error).__name__})"
    for row, wanted in zip(rows, expected, strict=True):
        got = torch.cat([first[row], rest[row]])
        if got.shape != wanted.shape or (got - wanted).abs().max() > _tolerance(model, wanted):
            return "its packed rows disagree with its own forward pass"
    return _hidden_window(model, session.windows)


def _hidden_window(model: PreTrainedModel, windows: dict[int, int | None]) -> str:
    """A sliding window that only the model's own mask knows shows in no short text, so compare with the config."""
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    if layers is None:
        slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        missed = bool(slides) and not any(windows.values())
    else:
        missed = any(kind == "sliding_attention" and not windows.get(layer) for layer, kind in enumerate(layers))
    return "its attention does not tell its sliding window" if missed else ""


def _tolerance(model: PreTrainedModel, logits: Tensor) -> float:
    return float(logits.abs().max()) * (1e-4 if model.dtype in (torch.float32, torch.float64) else 5e-2)
