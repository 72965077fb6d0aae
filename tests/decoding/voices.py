"""Small voices over real sessions that are watched: which rows are open, and how many tokens were given to read."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.algebra.adapter import Adapter
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.base import LanguageModel, Row, Session
from lmalgebra.models.loading import session_of
from lmalgebra.models.table import TOY_PIECES, TableModel, TableSession, TableTokenizer

TOYS = {"base": TableModel(seed=1), "formal": TableModel(seed=2)}
STEERED = "base + 0.6 * (formal - base)"
LONG = {"min_new_tokens": 12, "max_new_tokens": 12}


class Watched(Session):
    """Passes every call on to a session, and remembers which rows are open; logits do not outlive the next pass."""

    def __init__(self, session: Session) -> None:
        self.inner = session
        self.vocabulary_size, self.context_length = session.vocabulary_size, session.context_length
        self.device, self.notes = session.device, session.notes
        self.open_rows: set[Row] = set()
        self.most_rows = 0
        self.given = 0
        self._fleeting: list[Tensor] = []

    @property
    def room_left(self) -> int | None:
        return self.inner.room_left

    def open(self, tokens: Sequence[int] = (), adapter: Adapter | None = None, room: int = 0) -> Row:
        return self._opened(self.inner.open(tokens, adapter, room))

    def fork(self, row: Row, length: int | None = None, room: int = 0) -> Row:
        return self._opened(self.inner.fork(row, length, room))

    def load_adapter(self, adapter: Adapter) -> None:
        self.inner.load_adapter(adapter)

    def park(self, row: Row) -> None:
        self.inner.park(row)

    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        with torch.inference_mode():
            for logits in self._fleeting:
                logits.fill_(torch.nan)
        found = {row: logits.clone() for row, logits in self.inner.extend(tokens, wanted).items()}
        self._fleeting = list(found.values())
        self.given += sum(map(len, tokens.values()))
        return found

    def rewind(self, row: Row, length: int) -> None:
        self.inner.rewind(row, length)

    def close(self, row: Row) -> None:
        self.inner.close(row)
        self.open_rows.remove(row)

    def length(self, row: Row) -> int:
        return self.inner.length(row)

    def _opened(self, row: Row) -> Row:
        self.open_rows.add(row)
        self.most_rows = max(self.most_rows, len(self.open_rows))
        return row


def watched(model: LanguageModel) -> LanguageModel:
    return LanguageModel(model.source, Watched(model.session), model.tokenizer, model.summary)


def toy(table: TableModel, context_length: int = 4096, source: str = "toy") -> LanguageModel:
    return watched(LanguageModel(source, TableSession(table, context_length), TableTokenizer(table)))


def toys(tables: Mapping[str, TableModel] = TOYS, context_length: int = 4096) -> dict[str, LanguageModel]:
    """A watched model for each table, under the names of the terms that speak by it."""
    return {name: toy(table, context_length, name) for name, table in tables.items()}


def network(max_cache_tokens: int = 1 << 16, context_length: int = 256, seed: int = 0) -> LanguageModel:
    """A random Llama in float32 that spells with the toy's pieces."""
    config = LlamaConfig(
        vocab_size=len(TOY_PIECES),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    session = session_of(model, "network", max_cache_tokens)
    return watched(LanguageModel("network", session, TableTokenizer(TableModel())))


def voice(
    formula: str, models: Mapping[str, LanguageModel], max_samples: int = 32, prefix: str | None = "", **settings: Any
) -> ComposedVoice:
    """A voice whose term NAME is plain completion by `models[NAME]`."""
    terms = {name: Model(source=name).term(name=name, prefix=prefix) for name in models}
    described = Voice(parse(formula, terms), GenerationSettings(**settings))
    return ComposedVoice(described, lambda model: models[model.source], max_samples)


def prompted_network(formula: str = STEERED, max_samples: int = 32, **limits: int) -> ComposedVoice:
    """A voice whose two terms are two prompts of one random Llama."""
    model = Model(source="network")
    terms = {"base": model.term(name="base", prefix=""), "formal": model.term(name="formal", prefix="dear sir, ")}
    weights = network(**limits)
    return ComposedVoice(Voice(parse(formula, terms)), lambda model: weights, max_samples)


def recital(pieces: Sequence[str], prompt: str = "p", ends: bool = False) -> LanguageModel:
    """A model that says `pieces` one after another after `prompt`, and then `p` for ever, or the end."""
    known = tuple(dict.fromkeys((prompt, *pieces, "<end>")))

    def certainly(piece: str) -> tuple[float, ...]:
        return tuple(float(piece == each) for each in known)

    last = "<end>" if ends else prompt
    said = [*pieces, *[last] * 60]
    rows = {(prompt, *said[:count]): certainly(piece) for count, piece in enumerate(said)}
    return toy(TableModel(known, rows=rows), source="recital")


def sessions(voice: ComposedVoice) -> list[Watched]:
    return list(dict.fromkeys(voice.loaded.sessions.values()))


def open_rows(voice: ComposedVoice) -> int:
    return sum(len(session.open_rows) for session in sessions(voice))
