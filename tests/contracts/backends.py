"""Every kind of session over a tiny model, and what the model itself says of a row read from its start.

The weights are drawn large, so that who attends to whom changes the logits by far more than the tolerance;
`test_architectures.py` shows it.
"""

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from gguf_file import write_llama_gguf, write_llama_lora
from lora_files import merged, save_adapter, scratch_folder
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from lmalgebra.algebra.adapter import Adapter, as_adapter, relocated, summands
from lmalgebra.models.base import Session
from lmalgebra.models.connection import Connection
from lmalgebra.models.endpoint import Endpoint, EndpointSession
from lmalgebra.models.llamacpp import GGUFModel, LlamaCppSession
from lmalgebra.models.loading import session_of
from lmalgebra.models.native import has_compiler
from lmalgebra.models.quantized import QuantizedLinear, quantize_linears
from lmalgebra.models.table import TableModel, TableSession, TableTokenizer
from lmalgebra.models.token_names import TokenNames
from lmalgebra.models.transformers import plain_logits
from toy_server import ToyServer, serving

VOCABULARY = 61
CONTEXT = 1024
WINDOW = 7

_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_GROUPED = _SMALL | {"num_key_value_heads": 2}
_GEMMA = _GROUPED | {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": WINDOW}
_OLD = {"vocab_size": VOCABULARY, "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None}

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "gpt2": lambda: GPT2Config(**_OLD, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT),
    "gpt_neox": lambda: GPTNeoXConfig(**_SMALL),
    "qwen2": lambda: Qwen2Config(**_GROUPED),
    "qwen2 sliding": lambda: Qwen2Config(
        **_GROUPED, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(**_GROUPED, head_dim=12),
    "gemma2": lambda: Gemma2Config(**_GEMMA, attn_logit_softcapping=3.0, final_logit_softcapping=20.0),
    "gemma3": lambda: Gemma3TextConfig(**_GEMMA, layer_types=["sliding_attention", "full_attention"]),
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=WINDOW),
}
"""What TransformersSession serves."""

RECOMPUTED: dict[str, Callable[[], PreTrainedConfig]] = {
    "bloom": lambda: BloomConfig(
        **_OLD, hidden_size=32, n_layer=2, n_head=4, pad_token_id=None, max_position_embeddings=CONTEXT
    )
}

COMPILED = {f"{name}, compiled": name for name in ("llama", "mistral", "qwen2 sliding", "qwen3") if has_compiler()}
"""The same through the engine 'native'."""

QUANTIZED = {"llama, int4": "llama"}
"""The same with weights of four bits."""

LLAMA_CPP = ("llama.cpp",) if find_spec("llama_cpp") else ()
"""The engine 'llamacpp', where it is installed."""

REMOTE = ("remote",)
"""A server of the table that tells of every token."""

CACHED_NAMES = (*CONFIGS, *COMPILED, *QUANTIZED)
BOUNDED_NAMES = ("table", *LLAMA_CPP, *CACHED_NAMES)
NAMES = (*BOUNDED_NAMES, *REMOTE, *RECOMPUTED)


@dataclass(frozen=True)
class Backend:
    """A kind of session: how to open one, and `logits`, what its model says of a row read from its start.

    `adapters` are two that it can have and a weighted sum of them, or none; `logits` may be given one of these, too.
    """

    name: str
    new_session: Callable[..., Session]
    logits: Callable[..., Tensor]
    adapters: tuple[Adapter, Adapter, Adapter] | None = None


@cache
def backend(name: str) -> Backend:
    """The backend called `name`. Each of its sessions is over a fresh copy of one model, as after loading."""
    if name == "table":
        return _table()
    if name in REMOTE:
        return _remote()
    if name in LLAMA_CPP:
        return _llama_cpp()
    model = tiny_model((CONFIGS | RECOMPUTED)[(COMPILED | QUANTIZED).get(name, name)]())
    engine = "native" if name in COMPILED else "torch"
    quantization = "int4" if name in QUANTIZED else "none"
    plain = with_own_attention(model)
    if name in QUANTIZED:
        _round(plain)

    def new_session(max_cache_tokens: int = 1 << 16) -> Session:
        return session_of(deepcopy(model), name, max_cache_tokens, engine, quantization)

    return Backend(name, new_session, _with_merged(plain), _adapters(plain))


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Ctrl-C in the middle of the work: once a model was asked `after` times, with its layers' work done."""
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1
        if asked > after:
            raise KeyboardInterrupt

    def count_trunk(module: nn.Module, *_: Any) -> None:
        if isinstance(module, PreTrainedModel) and module.base_model is module:
            count()

    ask, decode, hear = TableModel.logprobs, LlamaCppSession._decode, EndpointSession._logits
    hook = nn.modules.module.register_module_forward_hook(count_trunk)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(TableModel, "logprobs", lambda table, context: count() or ask(table, context))
            patch.setattr(LlamaCppSession, "_decode", lambda session, *given: (decode(session, *given), count())[0])
            patch.setattr(EndpointSession, "_logits", lambda session, told: count() or hear(session, told))
            yield
    finally:
        hook.remove()


def tiny_model(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A model of `config` with random weights, the same at every call; biases and norms are random, too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def with_own_attention(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model with the plainest attention that Transformers has, whatever becomes of the original."""
    plain = deepcopy(model)
    plain.set_attn_implementation("eager")
    return plain


def _round(model: PreTrainedModel) -> None:
    """Round the weights to what four bits can hold; their layers stay plain."""
    quantize_linears(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, QuantizedLinear):
                setattr(parent, name, child.wide)


def _adapters(model: PreTrainedModel) -> tuple[Adapter, Adapter, Adapter]:
    """One of all linear layers, one of those of the last decoder layer, scaled otherwise, and a weighted sum."""
    folder = scratch_folder()
    last = {"exclude_modules": r".*\.0\..*", "r": 5, "use_rslora": True}
    return _with_their_sum(save_adapter(model, folder / "first", 1), save_adapter(model, folder / "second", 2, **last))


def _with_their_sum(first: str, second: str) -> tuple[Adapter, Adapter, Adapter]:
    both = as_adapter({first: 0.7, second: -0.4})
    assert both is not None
    return first, second, both


def _with_merged(plain: PreTrainedModel) -> Callable[..., Tensor]:
    """What a model says of a row read from its start, with an adapter merged into its weights."""
    merged_once = cache(lambda adapter: merged(plain, adapter) if adapter else plain)
    return lambda tokens, adapter=None: plain_logits(merged_once(adapter), tokens)


TABLE = TableModel(pieces=(*map(str, range(VOCABULARY - 1)), "<end>"))


def _table() -> Backend:
    def new_session(max_cache_tokens: int | None = None) -> Session:
        return TableSession(TABLE, CONTEXT, max_cache_tokens)

    return Backend("table", new_session, _table_logits, _with_their_sum("toy:5", "toy:6"))


def _table_logits(tokens: Sequence[int], adapter: Adapter | None = None) -> Tensor:
    laid_over = [(replace(TABLE, seed=int(place[4:])), weight) for place, weight in summands(adapter)]
    parts = [(TABLE, 1.0), *laid_over]
    return torch.stack(
        [sum(w * t.logprobs(tokens[: end + 1]) for t, w in parts).log_softmax(-1) for end in range(len(tokens))]
    )


def _remote() -> Backend:
    until_exit = ExitStack()
    atexit.register(until_exit.close)
    server = until_exit.enter_context(serving(ToyServer(TABLE)))
    names = TokenNames(TableTokenizer(TABLE))

    def new_session() -> Session:
        endpoint = Endpoint(Connection(server.address), names, "toy", VOCABULARY, sends_ids=True)
        return EndpointSession(endpoint, CONTEXT)

    return Backend("remote", new_session, _table_logits)


def _llama_cpp() -> Backend:
    model = tiny_model(CONFIGS["llama"]())
    plain, folder = with_own_attention(model), scratch_folder()
    file = GGUFModel(write_llama_gguf(model, folder / "tiny.gguf"))
    first, second, _ = _adapters(plain)
    folders = {
        str(write_llama_lora(each, model.config, folder / f"{i}.gguf")): each for i, each in enumerate((first, second))
    }
    merged_into = _with_merged(plain)

    def new_session(max_cache_tokens: int = 1 << 16) -> Session:
        return LlamaCppSession(file, max_cache_tokens)

    def logits(tokens: Sequence[int], adapter: Adapter | None = None) -> Tensor:
        return merged_into(tokens, adapter and relocated(adapter, folders.__getitem__))

    return Backend("llama.cpp", new_session, logits, _with_their_sum(*folders))
