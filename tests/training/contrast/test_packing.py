"""Packed sequences are read as they are alone, and see nothing of one another."""

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, MambaConfig

from lmalgebra.training.contrast.encoding import Encoded
from lmalgebra.training.contrast.objective import Contrast, Phis
from lmalgebra.training.contrast.packing import mean_losses, packed, packs_exactly, padded, scored_logits
from tiny_classifiers import LETTERS, llama

SEQUENCES = [Encoded((1, 5, 6, 7, 8), 1), Encoded((1, 9), 1), Encoded((1, 4, 4, 10, 6, 5, 9), 3), Encoded((1, 7, 7), 1)]
SIZES = {"vocab_size": len(LETTERS), "bos_token_id": 1, "eos_token_id": 0}
CONFIGS = {
    "llama": llama(),
    "gpt2": GPT2Config(**SIZES, n_embd=32, n_layer=2, n_head=4, n_positions=64),
}
MAMBA = MambaConfig(**SIZES, hidden_size=32, num_hidden_layers=2, state_size=4, pad_token_id=2)


def network(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def alone(model, sequence):
    """The mean loss of a sequence by the plainest way there is."""
    tokens = torch.tensor(sequence.tokens)
    logprobs = model(tokens[None]).logits[0].log_softmax(-1)
    return -torch.stack([logprobs[k - 1, tokens[k]] for k in range(sequence.first, len(tokens))]).mean()


@pytest.mark.parametrize("kind", CONFIGS)
def test_packed_padded_and_alone_agree(kind):
    model = network(CONFIGS[kind])
    wanted = torch.stack([alone(model, each) for each in SEQUENCES])
    for pack in (True, False):
        assert torch.allclose(mean_losses(model, SEQUENCES, pack), wanted, atol=1e-5)
    assert packs_exactly(model)


@pytest.mark.parametrize("pack", [True, False])
def test_no_sequence_sees_another(pack):
    model = network(CONFIGS["llama"])
    before = mean_losses(model, SEQUENCES, pack)
    changed = [*SEQUENCES]
    changed[1] = Encoded((1, 12), 1)
    after = mean_losses(model, changed, pack)
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]])
    assert before[1] != after[1]


@pytest.mark.parametrize("pack", [True, False])
def test_gradients_of_a_sequence_are_its_own(pack):
    model = network(CONFIGS["llama"])
    mean_losses(model, SEQUENCES, pack)[2].backward()
    rows = model.get_input_embeddings().weight.grad.abs().sum(-1)
    assert set(rows.nonzero().flatten().tolist()) == {1, 4, 10, 6, 5}  # those of its tokens that predict others


def test_the_gradient_of_the_loss_agrees_with_finite_differences():
    model = network(CONFIGS["gpt2"]).double()  # Llama's norms compute in float32
    weights = model.get_input_embeddings().weight

    def loss():
        phis = mean_losses(model, SEQUENCES)
        return Contrast(tau=0.5, alpha=2)([Phis(phis[:2], phis[2:3], phis[3:])])

    loss().backward()
    for token, place in ((5, 0), (9, 3), (7, 30)):
        found = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                weights[token, place] += step
            found.append(loss().item())
        with torch.no_grad():
            weights[token, place] += 1e-6
        assert weights.grad[token, place].item() == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_the_order_of_sequences_is_nothing():
    model = network(CONFIGS["llama"])
    forwards, backwards = mean_losses(model, SEQUENCES), mean_losses(model, SEQUENCES[::-1])
    assert torch.allclose(forwards, backwards.flip(0), atol=1e-5)


def test_nothing_is_padded_when_packed():
    assert packed(SEQUENCES)["input_ids"].shape == (1, 17)
    assert "attention_mask" not in packed(SEQUENCES)
    assert padded(SEQUENCES)["input_ids"].shape == (4, 7)
    assert packed(SEQUENCES)["scored"].sum() == padded(SEQUENCES)["scored"].sum() == 4 + 1 + 4 + 2


def test_more_padding_changes_nothing():
    model = network(CONFIGS["llama"])
    longer = [*SEQUENCES, Encoded((1, *[5] * 30), 1)]
    assert torch.allclose(mean_losses(model, longer, False)[:4], mean_losses(model, SEQUENCES, False), atol=1e-5)


def test_a_network_that_carries_a_state_along_is_told_and_padded():
    model = network(MAMBA)
    assert not packs_exactly(model)
    assert not packs_exactly(network(MAMBA).bfloat16())
    assert packs_exactly(network(CONFIGS["llama"]).bfloat16())
    wanted = torch.stack([alone(model, each) for each in SEQUENCES])
    assert torch.allclose(mean_losses(model, SEQUENCES, False), wanted, atol=1e-5)


def test_scored_logits_are_those_before_each_scored_token():
    model = network(CONFIGS["llama"])
    logits = scored_logits(model, packed(SEQUENCES))
    last = model(torch.tensor([SEQUENCES[3].tokens])).logits[0, :2]
    assert torch.allclose(logits[-2:], last, atol=1e-5)
