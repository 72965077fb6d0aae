"""Reading whole texts with gradient: the logits are those of rows, the gradients those of PEFT."""

import pytest
import torch
from backends import CACHED_NAMES, CONFIGS, RECOMPUTED, backend, tiny_model, with_own_attention
from followed import TOLERANCE, some_tokens
from lora_files import save_adapter

from lmalgebra.errors import ModelError, PromptError
from lmalgebra.models.loading import session_of
from lmalgebra.models.peft_folder import LowRank, read_adapter
from lmalgebra.models.whole_texts import read_whole

TEXTS = [some_tokens(20), some_tokens(3), some_tokens(11)]
WANTED = [4, 3, 1]


def with_gradient(changes):
    return {
        name: LowRank(each.down.clone().requires_grad_(), each.up.clone().requires_grad_(), each.scale)
        for name, each in changes.items()
    }


def expected_logits(name, adapter=None):
    return torch.cat([backend(name).logits(text, adapter)[-count:] for text, count in zip(TEXTS, WANTED, strict=True)])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", [*CACHED_NAMES, *RECOMPUTED])
def test_whole_texts_have_the_logits_of_rows_under_an_adapter(name, checkpointing):
    session, (adapter, *_) = backend(name).new_session(), backend(name).adapters
    changes = with_gradient(read_adapter(adapter))
    found = read_whole(session, TEXTS, WANTED, changes, checkpointing)
    torch.testing.assert_close(found.detach(), expected_logits(name, adapter), rtol=0, atol=TOLERANCE)
    assert found.requires_grad
    assert torch.equal(read_whole(session, TEXTS, WANTED, changes, checkpointing), found)


@pytest.mark.parametrize("name", [*CACHED_NAMES, *RECOMPUTED])
def test_layers_computed_again_give_the_same_gradients_of_the_changes_alone(name):
    session, (adapter, other, _) = backend(name).new_session(), backend(name).adapters
    session.network.requires_grad_(False)
    gradients = []
    for checkpointing in (False, True):
        changes = with_gradient(read_adapter(adapter))
        loss = read_whole(session, TEXTS, WANTED, changes, checkpointing).log_softmax(-1)[:, 5].sum()
        session.renew_adapter("between", read_adapter(other))
        row = session.open([1], adapter="between")
        session.extend({row: [2]})
        loss.backward()
        session.close(row)
        gradients.append([part.grad for each in changes.values() for part in (each.down, each.up)])
    assert not any(parameter.grad is not None for parameter in session.network.parameters())
    for plain, again in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "bloom"])
def test_gradients_are_those_of_peft(name, tmp_path):
    from peft import PeftModel

    model = with_own_attention(tiny_model((CONFIGS | RECOMPUTED)[name]()))
    place = save_adapter(model, tmp_path / "adapter")
    session = session_of(tiny_model((CONFIGS | RECOMPUTED)[name]()), "tiny", 1 << 12)
    changes = with_gradient(read_adapter(place))
    read_whole(session, TEXTS[:1], [20], changes).log_softmax(-1)[:, 5].sum().backward()
    tuned = PeftModel.from_pretrained(model, place, is_trainable=True).eval()
    tuned(input_ids=torch.tensor(TEXTS[:1])).logits[0].log_softmax(-1)[:, 5].sum().backward()
    theirs = dict(tuned.named_parameters())
    for layer, change in changes.items():
        for which, part in (("A", change.down), ("B", change.up)):
            wanted = theirs[f"base_model.model.{layer}.lora_{which}.default.weight"].grad
            torch.testing.assert_close(part.grad, wanted, rtol=1e-3, atol=2e-3 * float(wanted.abs().max()))


def test_a_text_has_the_same_logits_whatever_is_read_beside_it():
    session = backend("llama").new_session()
    alone = read_whole(session, TEXTS[1:2], WANTED[1:2])
    torch.testing.assert_close(read_whole(session, TEXTS, WANTED)[4:7], alone, rtol=0, atol=1e-5)


def test_a_text_beyond_the_context_and_a_session_without_a_network_are_refused():
    with pytest.raises(PromptError, match=r"1,?025|1,?024"):
        read_whole(backend("llama").new_session(), [[1] * 1025], [1])
    with pytest.raises(ModelError, match=r"gives no gradients\. Load the model that is trained with engine=\"torch\""):
        read_whole(backend("table").new_session(), [[1]], [1])


@pytest.mark.parametrize("name", [*CACHED_NAMES, *RECOMPUTED])
def test_an_adapter_that_is_renewed_is_the_new_one(name):
    session, (adapter, other, _) = backend(name).new_session(), backend(name).adapters
    for place in (adapter, other, adapter):
        session.renew_adapter("mine", read_adapter(place))
        row = session.open(adapter="mine")
        found = session.extend({row: TEXTS[0]})[row]
        torch.testing.assert_close(found, backend(name).logits(TEXTS[0], place), rtol=0, atol=TOLERANCE)
        session.close(row)
    session.forget_adapter("mine")
    with pytest.raises(ModelError, match=r"The adapter 'mine' cannot be used: there is no such folder"):
        session.open(adapter="mine")


@pytest.mark.parametrize("name", ["llama", "bloom"])
def test_an_adapter_does_not_change_under_open_rows(name):
    session, (adapter, other, _) = backend(name).new_session(), backend(name).adapters
    session.renew_adapter("mine", read_adapter(adapter))
    row = session.open([1, 2], adapter="mine")
    refusal = r"The adapter 'mine' cannot change while 1 open row is under it\. Close it first\."
    with pytest.raises(ModelError, match=refusal):
        session.renew_adapter("mine", read_adapter(other))
    with pytest.raises(ModelError, match=refusal):
        session.forget_adapter("mine")
    session.renew_adapter("another", read_adapter(other))
    torch.testing.assert_close(
        session.extend({row: [3]})[row][0], backend(name).logits([1, 2, 3], adapter)[-1], rtol=0, atol=TOLERANCE
    )
