"""Rows of a .gguf file through llama.cpp: its sequences are rows, in one cache that they share.

A fork marks cells of the cache as another sequence's too, so nothing is computed or copied. A pass is one
`llama_decode` over the new tokens of all rows, or several where there are many. Logits stay where llama.cpp has put
them. Room is counted as if rows shared nothing, so that what was promised is there whatever becomes of the others.

llama.cpp keeps keys and values in 16 bits, but for a float32 file in 32. Where weights are quantised, it rounds what is
multiplied with them to 8 bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from lmalgebra.algebra.adapter import Adapter, AdapterSum, summands
from lmalgebra.errors import CacheFullError, ModelError
from lmalgebra.models.base import Row
from lmalgebra.models.counted import CountedRow, CountedSession
from lmalgebra.models.rows import wanted_logits

CACHE_TOKENS = 1 << 14
"""Tokens that a cache holds unless a limit is given, or twice the model's context where that is more."""

TOKENS_AT_ONCE = 512
"""Most tokens of one `llama_decode`."""

_DECODER = "Use a decoder-only transformer."
_ERROR = 4  # ggml's level
_NO_SPACE = 1  # what llama_decode returns where the cache has none


def library() -> ModuleType:
    """The low-level API of llama-cpp-python. Raises ModelError where it is not installed."""
    try:
        import llama_cpp
    except ImportError:
        raise ModelError(
            "The engine 'llamacpp' needs llama-cpp-python, which is not installed.",
            "Install it with: pip install 'lmalgebra[llamacpp]'",
        ) from None
    return llama_cpp


_heard: list[str] = []


@cache
def _listener(api: ModuleType) -> Any:
    """Hears of errors; anything else that llama.cpp says is dropped. It must live as long as the library."""

    @api.llama_log_callback
    def hear(level: int, text: bytes, _: object) -> None:
        if level == _ERROR:
            _heard.append(text.decode(errors="replace").strip())

    api.llama_log_set(hear, None)
    return hear


def _forget_errors(api: ModuleType) -> None:
    """So that those of the next call can be told by `_reason`."""
    _listener(api)
    _heard.clear()


def _reason(otherwise: str = "it gives no reason") -> str:
    """What llama.cpp has complained of since: it tells nobody else why it fails."""
    return "; ".join(_heard) or otherwise


class GGUFModel:
    """The weights and vocabulary of a .gguf file, freed after the last use.

    `device` "auto" computes on a GPU where the library was built for one. With `vocabulary_only` the weights are left
    out, and no session can be made. Raises ModelError for a bad file, and for a GPU that the library was not built for.
    """

    def __init__(self, file: Path, device: str = "auto", vocabulary_only: bool = False) -> None:
        self.api = library()
        self.file = file
        options = self.api.llama_model_default_params()
        self.place = "gpu" if device != "cpu" and self.api.llama_supports_gpu_offload() else "cpu"
        if device not in ("auto", "cpu") and self.place == "cpu":
            raise ModelError(
                f"The device '{device}' cannot be used: llama-cpp-python was built without a GPU here.",
                "Leave `device` out, or build it with a GPU.",
            )
        if self.place == "cpu":
            options.n_gpu_layers = 0
        options.vocab_only = vocabulary_only
        _forget_errors(self.api)
        self.pointer = self.api.llama_model_load_from_file(os.fsencode(file), options)
        if not self.pointer:
            raise ModelError(
                f"llama.cpp cannot load '{file}': {_reason()}.", "Check the file, or use the engine 'torch'."
            )
        finalize(self, self.api.llama_model_free, self.pointer)
        self.vocabulary = self.api.llama_model_get_vocab(self.pointer)
        self.vocabulary_size = int(self.api.llama_vocab_n_tokens(self.vocabulary))
        self.context_length = int(self.metadata(f"{self.metadata('general.architecture')}.context_length") or 0)
        self.is_float32 = self.metadata("general.file_type") == "0"
        self._adapters: dict[str, Any] = {}
        self._refuse_what_does_not_speak()

    def _refuse_what_does_not_speak(self) -> None:
        kind = self.metadata("general.architecture") or "unknown"
        if self.api.llama_model_has_encoder(self.pointer) or self.metadata(f"{kind}.attention.causal") == "false":
            raise ModelError(f"'{self.file}' holds a model of the kind '{kind}', which does not write text.", _DECODER)
        if self.api.llama_model_is_recurrent(self.pointer) or self.api.llama_model_is_hybrid(self.pointer):
            raise ModelError(f"'{self.file}' holds a model of the kind '{kind}', which cannot be rewound.", _DECODER)

    @property
    def summary(self) -> str:
        """What a user may want to know of it."""
        buffer = ctypes.create_string_buffer(128)
        self.api.llama_model_desc(self.pointer, buffer, len(buffer))
        parameters = self.api.llama_model_n_params(self.pointer) / 1e6
        return f"{buffer.value.decode()}, {parameters:,.0f}M parameters, llama.cpp on {self.place}"

    def adapter(self, place: str) -> Any:
        """The LoRA of a .gguf file, loaded for these weights once and freed with them. Raises ModelError."""
        if place not in self._adapters:
            file = Path(place).expanduser()
            refusal = f"The adapter '{place}' cannot be used: "
            if file.suffix != ".gguf":
                raise ModelError(
                    f"{refusal}the engine 'llamacpp' reads adapters from .gguf files.",
                    "Convert it with llama.cpp's convert_lora_to_gguf.py, or use the engine 'torch' for the model.",
                )
            if not file.is_file():
                raise ModelError(f"{refusal}there is no such file.", "Give the path of a .gguf file.")
            _forget_errors(self.api)
            pointer = self.api.llama_adapter_lora_init(self.pointer, os.fsencode(file))
            if not pointer:
                raise ModelError(f"{refusal}{_reason()}.", "Use it with the model that it was trained for.")
            self._adapters[place] = pointer
        return self._adapters[place]

    def metadata(self, key: str) -> str | None:
        """The value of a key in the file, as text."""
        size = self.api.llama_model_meta_val_str(self.pointer, key.encode(), None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        self.api.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace")


class LlamaCppSession(CountedSession):
    """Rows over a `GGUFModel`; as many may be open as llama.cpp has sequences."""

    def __init__(self, model: GGUFModel, max_cache_tokens: int | None = None, threads: int | None = None) -> None:
        most = max_cache_tokens or max(CACHE_TOKENS, 2 * model.context_length)
        super().__init__(most)
        self._model, self._api = model, model.api
        self.context_length, self.vocabulary_size = model.context_length, model.vocabulary_size
        self.device = torch.device("cpu")
        self._free = list(range(self._api.llama_max_parallel_sequences()))
        self._context = self._new_context(most, threads or torch.get_num_threads())
        self._memory = self._api.llama_get_memory(self._context)
        self._batch = _Batch(self._api, TOKENS_AT_ONCE)
        self._laid_over: AdapterSum | None = ()

    def _new_context(self, most: int, threads: int) -> Any:
        options = self._api.llama_context_default_params()
        options.n_ctx = most
        options.n_seq_max = len(self._free)
        options.n_batch = options.n_ubatch = max(TOKENS_AT_ONCE, options.n_seq_max)  # it aborts with less
        options.n_threads = options.n_threads_batch = threads
        options.kv_unified = options.swa_full = options.no_perf = True
        if self._model.is_float32:
            options.type_k = options.type_v = self._api.GGML_TYPE_F32
            options.flash_attn_type = self._api.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds
        _forget_errors(self._api)
        context = self._api.llama_init_from_model(self._model.pointer, options)
        if not context:
            raise ModelError(
                f"llama.cpp cannot make a cache of {most:,} tokens for '{self._model.file}': {_reason()}.",
                "Give a smaller limit, or use the engine 'torch'.",
            )
        finalize(self, self._api.llama_free, context)
        return context

    def load_adapter(self, adapter: Adapter) -> None:
        for place, _ in summands(adapter):
            self._model.adapter(place)

    def _add(self, row: CountedRow) -> Row:
        if not self._free:
            raise CacheFullError(
                f"The key-value cache is full: it holds {len(self._rows)} rows, the most that llama.cpp allows.",
                "Run fewer samples at once.",
            )
        added = super()._add(row)
        row.sequence = self._free.pop()
        return added

    def _copy(self, original: CountedRow, twin: CountedRow) -> None:
        self._api.llama_memory_seq_cp(self._memory, original.sequence, twin.sequence, 0, twin.read)

    def _forget(self, row: CountedRow) -> None:
        self._api.llama_memory_seq_rm(self._memory, row.sequence, row.read, -1)

    def close(self, row: Row) -> None:
        sequence = self._rows[row].sequence
        super().close(row)
        self._free.append(sequence)

    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        counts = wanted_logits(tokens, wanted)
        after, held = self._after(tokens), {row: self._rows[row] for row in tokens}
        unread = {row: after[row][each.read :] for row, each in held.items()}
        for new in unread.values():
            self._check_vocabulary(new)
        growth = sum(max(0, len(after[row]) - each.space) for row, each in held.items())
        self._take(growth)
        try:
            logits = self._read_by_adapters(unread, counts)
        except BaseException:
            self._used -= growth
            for each in held.values():
                self._forget(each)
            raise
        for row, each in held.items():
            each.tokens, each.read = after[row], len(after[row])
        return logits

    def _read_by_adapters(self, unread: Mapping[Row, list[int]], counts: Mapping[Row, int]) -> dict[Row, Tensor]:
        """Read tokens into the cache, the rows under the same adapters at a time; each row's wanted logits."""
        groups: dict[AdapterSum, list[Row]] = {}
        for row in unread:
            groups.setdefault(self._rows[row].adapters, []).append(row)
        found: dict[Row, Tensor] = {}
        for adapters in sorted(groups, key=lambda each: each != self._laid_over):  # each change takes time
            self._lay_over(adapters)
            rows = groups[adapters]
            logits = self._read({row: unread[row] for row in rows}, counts)
            if len(groups) > 1:
                logits = logits.clone()  # the next group's go to the same place
            found |= zip(rows, logits.split([counts[row] for row in rows]), strict=True)
        return found

    def _lay_over(self, adapters: AdapterSum) -> None:
        """Let what is read next be under `adapters`."""
        if adapters == self._laid_over:
            return
        pointers = [self._model.adapter(place) for place, _ in adapters]
        count, scales = len(adapters), [weight for _, weight in adapters]
        self._laid_over = None  # unknown, if this is interrupted
        array = (self._api.llama_adapter_lora_p_ctypes * count)(*pointers)
        self._api.llama_set_adapters_lora(self._context, array, count, (ctypes.c_float * count)(*scales))
        self._laid_over = adapters

    def _check_vocabulary(self, tokens: Sequence[int]) -> None:
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.vocabulary_size:
            raise IndexError(f"a token is outside the vocabulary of {self.vocabulary_size:,}")

    def _read(self, unread: Mapping[Row, Sequence[int]], counts: Mapping[Row, int]) -> Tensor:
        """Read tokens into the cache; the logits wanted, `[all rows' wanted, vocabulary]`, in the order of rows."""
        tokens, places, sequences, outputs = entries = [], [], [], []
        for row, new in unread.items():
            held, silent = self._rows[row], len(new) - counts[row]
            tokens += new
            places += range(held.read, held.read + len(new))
            sequences += [held.sequence] * len(new)
            outputs += [0] * silent + [1] * counts[row]
        if len(tokens) <= TOKENS_AT_ONCE:
            return self._decode(entries) if tokens else torch.empty(0, self.vocabulary_size)
        chunks = [slice(first, first + TOKENS_AT_ONCE) for first in range(0, len(tokens), TOKENS_AT_ONCE)]
        return torch.cat([self._decode([each[chunk] for each in entries]).clone() for chunk in chunks])

    def _decode(self, entries: Sequence[list[int]]) -> Tensor:
        """The logits of one `llama_decode`, `[wanted, vocabulary]`, where llama.cpp keeps them until the next.

        `entries` are as in `_Batch.filled`. Raises CacheFullError and ModelError, as llama.cpp says.
        """
        _forget_errors(self._api)
        status = self._api.llama_decode(self._context, self._batch.filled(entries))
        if status == _NO_SPACE:
            raise CacheFullError("The key-value cache of llama.cpp is full.", "Run fewer samples at once.")
        if status:
            why = _reason(f"status {status}")
            raise ModelError(f"llama.cpp cannot read on in '{self._model.file}': {why}.", "Use the engine 'torch'.")
        shape = (sum(entries[-1]), self.vocabulary_size)
        if not shape[0]:
            return torch.empty(shape)
        return torch.from_numpy(np.ctypeslib.as_array(self._api.llama_get_logits(self._context), shape))


class _Batch:
    """The arrays of a `llama_decode`, filled without a call for each token; each token is of one sequence."""

    def __init__(self, api: ModuleType, size: int) -> None:
        tokens, places, counts, sequences = np.ones((4, size), dtype=np.int32)
        outputs, first = np.ones(size, dtype=np.int8), sequences.ctypes.data
        addresses = np.arange(first, first + 4 * size, 4, dtype=np.uintp)
        kinds = [kind for _, kind in api.llama_batch._fields_[1:]]
        arrays = (tokens, None, places, counts, addresses, outputs)
        pointers = (a if a is None else a.ctypes.data_as(kind) for a, kind in zip(arrays, kinds, strict=True))
        self._batch = api.llama_batch(0, *pointers)
        self._arrays = (tokens, places, sequences, outputs)
        self._kept = (counts, addresses)  # the batch only points to them

    def filled(self, entries: Sequence[Sequence[int]]) -> Any:
        """The batch as llama.cpp takes it, of tokens, their places, their sequences and whether logits are wanted."""
        count = len(entries[0])
        for array, values in zip(self._arrays, entries, strict=True):
            array[:count] = values
        self._batch.n_tokens = count
        return self._batch
