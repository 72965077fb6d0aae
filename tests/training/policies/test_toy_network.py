"""The smallest network that learns: what it says, and that it can be brought to a known law exactly."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.errors import TrainingError
from lmalgebra.models.table import TableModel
from lmalgebra.training.policies.toy_network import ToyNetwork
from training.policies.learning import toy_policy

SMALL = TableModel(("a", "b", "<end>"), "<end>")


def test_it_says_the_row_of_its_last_tokens():
    network = ToyNetwork(SMALL, order=2, spread=1)
    found = network.logits([[0, 1, 0], [1, 0], [0]], [2, 1, 1])
    assert torch.equal(found[1], found[2])  # both end with b a
    assert torch.unique(found, dim=0).shape == (3, 3)
    assert found.dtype == torch.float64


def test_each_context_has_a_row_of_its_own():
    network = ToyNetwork(SMALL, order=2, sees_first=True)
    texts = [[a, b, c] for a in range(3) for b in range(3) for c in range(3)]
    rows = {(text[0], *text[1:]): network._row([text[0], 1, *text[1:]]) for text in texts}
    assert len(set(rows.values())) == 27
    assert max(rows.values()) < len(network.table_logits)
    assert not {network._row([each]) for each in range(3)} & set(rows.values())


def test_the_engine_follows_its_parameters():
    network = ToyNetwork(SMALL, order=1)
    session = network.language_model.session
    row = session.open([0])
    before = session.extend({row: [1]})[row]
    with torch.no_grad():
        network.table_logits[2] = torch.tensor([1.0, 2.0, 3.0])
    session.rewind(row, 1)
    after = session.extend({row: [1]})[row]
    assert torch.equal(before, torch.zeros(1, 3, dtype=torch.float64))
    assert torch.equal(after, torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))


def test_it_can_be_brought_to_a_known_law_exactly():
    """Cross-entropy to p(x) exp(r(x)) over all next tokens: the formula reaches it."""
    policy = toy_policy("base + tilt(adapter)", ToyNetwork(TableModel(), order=0))
    reward = torch.linspace(-1, 1, policy.config.vocab_size, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=100, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    found = policy.judge(["a"], [[0]])
    target = (found.reference + reward).log_softmax(-1)

    def loss():
        optimizer.zero_grad()
        value = -(target.exp() * policy.judge(["a"], [[0]]).policy).sum()
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(policy.judge(["a"], [[0]]).policy.detach().exp(), target.exp(), rtol=0, atol=1e-7)


def test_what_is_saved_is_a_term_of_the_same_law(tmp_path):
    network = ToyNetwork(SMALL, order=2, spread=1)
    network.save(tmp_path)
    voice = la.voice(la.model(str(tmp_path / "table.json")).term(name="toy", prefix=""), models=la.Models())
    expected = network.logits([[0, 1, 0, 0]], [3]).log_softmax(-1)
    found = voice.score("ab", "aab").logprobs
    assert found == pytest.approx([expected[0, 0].item(), expected[1, 0].item(), expected[2, 1].item()], abs=1e-9)
    other = ToyNetwork(SMALL, order=2)
    other.restore(tmp_path)
    torch.testing.assert_close(other.logits([[0, 1, 0, 0]], [4]).log_softmax(-1)[1:], expected)


def test_what_no_table_can_say_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="cannot be written as a table"):
        ToyNetwork(TableModel(), order=1).save(tmp_path)
    with pytest.raises(TrainingError, match="A table of order 9 over 50 pieces is too large"):
        ToyNetwork(TableModel(), order=9)
