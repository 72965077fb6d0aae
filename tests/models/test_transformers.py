"""How sessions over Transformers models work inside; what they promise is in the contract suite."""

from copy import deepcopy

import pytest
import torch
from memory import memory_runs_out
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig

from lmalgebra.errors import CacheFullError
from lmalgebra.models import transformers
from lmalgebra.models.transformers import TransformersSession, plain_logits, why_not_served

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}


def made(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def model():
    return made(LlamaConfig(**SMALL))


@pytest.fixture
def passes(model, monkeypatch) -> list[int]:
    """The new tokens of each forward pass."""
    counted: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda module, inputs: counted.append(inputs[0].numel()))
    return counted


@pytest.fixture
def session(model) -> TransformersSession:
    return TransformersSession(model, 256, max_cache_tokens=1 << 14)


def test_all_new_tokens_of_all_rows_go_through_one_pass_without_padding(session, passes):
    rows = [session.open([1] * length) for length in (3, 1, 40, 7)]
    session.extend({row: [2] for row in rows})
    session.extend({row: [3] for row in rows})
    assert passes == [55, 4]


def test_a_fork_reads_nothing_again(session, passes):
    row = session.open([1, 2, 3])
    session.extend({row: [4]})
    twins = [session.fork(row) for _ in range(3)]
    session.extend({twin: [5] for twin in twins})
    assert passes == [4, 3]


def test_forks_of_a_row_that_was_never_read_read_it_once(session, passes):
    row = session.open([1] * 8)
    twins = [session.fork(row, length) for length in (5, None, 2)]
    session.extend({twin: [5] for twin in twins})
    assert passes == [8, 3]


def test_long_prompts_are_read_in_passes_of_bounded_size(session, passes, monkeypatch):
    monkeypatch.setattr(transformers, "PASS_TOKENS", 16)
    session.extend({session.open(): [1] * 20, session.open(): [2] * 30})
    assert passes == [16, 16, 16, 2]


def test_logits_are_made_only_of_the_tokens_that_are_wanted(model, session):
    made_of = []
    model.lm_head.register_forward_pre_hook(lambda module, inputs: made_of.append(inputs[0].shape[-2]))
    row, other = session.open([1] * 20), session.open([1] * 9)
    session.extend({row: [2, 3], other: [4]}, {row: 1})
    session.extend({row: [2, 3], other: [4]})
    assert made_of == [2, 3]


def test_idle_tokens_of_a_filled_pass_change_nothing(model):
    filled = TransformersSession(deepcopy(model), 256, 1 << 14, smallest_pass=4)
    plain = TransformersSession(model, 256, 1 << 14)
    tokens = [5, 6, 7, 8, 9]
    for step in ([5], [6, 7], [8], [9]):
        rows = [session.open(tokens[: tokens.index(step[0])]) for session in (filled, plain)]
        found, expected = (s.extend({row: step})[row] for s, row in zip((filled, plain), rows, strict=True))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("after", range(14))
def test_memory_that_runs_out_changes_no_row(session, monkeypatch, after):
    tokens = {session.open([1] * 9): [1] * 9, session.open([2] * 100, room=200): [2] * 100}

    def extend() -> None:
        session.extend({row: [3] for row in tokens})
        for held in tokens.values():
            held.append(3)

    def fork() -> None:
        for row, held in list(tokens.items()):
            tokens[session.fork(row, room=2 * len(held))] = list(held)

    refused = 0
    with memory_runs_out(monkeypatch, after):
        for use in (extend, fork, extend, fork):
            try:
                use()
            except CacheFullError:
                refused += 1
    assert refused > 0
    plain = made(LlamaConfig(**SMALL))
    expected = [plain_logits(plain, [*held, 4])[-1] for held in tokens.values()]
    found = session.extend({row: [4] for row in tokens})
    torch.testing.assert_close(torch.cat(list(found.values())), torch.stack(expected), rtol=0, atol=1e-4)


def test_bfloat16_logits_come_as_float32_and_near_those_of_the_model():
    model = made(LlamaConfig(**SMALL)).to(torch.bfloat16)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    expected = plain_logits(model, tokens).float()
    session = TransformersSession(model, 256, 1 << 14)
    found = session.extend({(row := session.open()): tokens})[row]
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_asking_whether_a_model_is_served_leaves_its_attention_as_it_was(model):
    model.set_attn_implementation("eager")
    model.config.model_type = "stranger"  # so that it is compared and not known
    assert why_not_served(model, 256) == ""
    assert model.config._attn_implementation == "eager"


class _Shifted(LlamaForCausalLM):
    """A model that does something with its positions that a packed pass cannot know."""

    def forward(self, input_ids=None, position_ids=None, **options):
        if position_ids is not None:
            position_ids = torch.arange(input_ids.shape[1])[None] * 2
        return super().forward(input_ids=input_ids, position_ids=position_ids, **options)


def test_a_model_whose_packed_rows_disagree_is_not_served():
    torch.manual_seed(0)
    model = _Shifted(LlamaConfig(**SMALL)).eval()
    model.config.model_type = "stranger"
    assert why_not_served(model, 256) == "its packed rows disagree with its own forward pass"


class _Refusing(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.layer_idx = inner, inner.layer_idx

    def forward(self, *given, **options):
        return self.inner(*given, **{**options, "s_aux": torch.ones(4)})


def test_a_model_that_asks_attention_for_something_unknown_is_not_served(model):
    model.config.model_type = "stranger"
    for layer in model.model.layers:
        layer.self_attn = _Refusing(layer.self_attn)
    assert why_not_served(model, 256) == "its attention asks for s_aux"


def test_a_sliding_window_that_attention_is_told_is_served():
    model = made(MistralConfig(**SMALL, sliding_window=100))
    model.config.model_type = "stranger"
    assert why_not_served(model, 256) == ""


def test_a_sliding_window_that_attention_is_not_told_is_noticed(model):
    model.config.model_type, model.config.sliding_window = "stranger", 100
    assert why_not_served(model, 256) == "its attention does not tell its sliding window"
