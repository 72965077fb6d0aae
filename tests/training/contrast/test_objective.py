"""The loss by hand, against a naive reference, by finite differences, and what it does not depend on."""

import math

import numpy as np
import pytest
import torch

from lmalgebra.training.contrast.objective import Contrast, Phis, divergence, phi_of


def phis(positives, negatives, random=()):
    return Phis(*(torch.tensor(each, dtype=torch.float64) for each in (positives, negatives, random)))


def naive(positives, negatives, random, how):
    """The definition, term by term, in plain Python."""
    centre = sum(positives) / len(positives)

    def similarity(phi, of_positives=False):
        far = phi - centre
        return math.exp(-(far if how.distance == "signed" and not of_positives else abs(far)) / how.tau)

    top = sum(similarity(phi, True) for phi in positives)
    rest = how.alpha * sum(map(similarity, negatives)) + sum(map(similarity, random))
    return -math.log(top / (top + rest))


def naive_published(positives, negatives, random, how):
    """What the paper's published code computes, in plain Python, for one anchor."""
    centre = sum(positives) / len(positives)
    logits = [math.exp(-abs(phi - centre)) / how.tau for phi in (*positives, *negatives, *random)]
    for place in range(len(positives), len(positives) + len(negatives)):
        logits[place] += how.alpha
    total = sum(map(math.exp, logits))
    losses = [-math.log(math.exp(logit) / total) for logit in logits[: len(positives)]]
    return sum(losses) / (len(positives) + 1 + len(random))


def test_a_case_worked_by_hand():
    # c = 2; s of positives: e^-1, e^-1; of negatives: 1 and e^-2.
    loss = Contrast(tau=1, alpha=1)([phis([1, 3], [2, 4])])
    assert loss.item() == pytest.approx(math.log(1 + (1 + math.exp(-2)) / (2 * math.exp(-1))), abs=1e-12)
    assert loss.item() == pytest.approx(0.9334, abs=1e-4)
    # tau = 2 halves the distances, alpha = 3 counts each negative three times.
    loss = Contrast(tau=2, alpha=3)([phis([1, 3], [2, 4])])
    assert loss.item() == pytest.approx(math.log(1 + 3 * (1 + math.exp(-1)) / (2 * math.exp(-0.5))), abs=1e-12)


@pytest.mark.parametrize("distance", ["absolute", "signed"])
@pytest.mark.parametrize("seed", range(20))
def test_random_groups_agree_with_the_definition(seed, distance):
    draw = np.random.default_rng(seed)
    sides = [draw.uniform(0, 6, draw.integers(1, 6)).tolist() for _ in range(3)]
    sides[2] = sides[2] * (seed % 2)
    how = Contrast(distance=distance, tau=float(draw.uniform(0.1, 2)), alpha=float(draw.uniform(0.1, 5)))
    assert how([phis(*sides)]).item() == pytest.approx(naive(*sides, how), rel=1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_the_published_loss_agrees_with_its_definition(seed):
    draw = np.random.default_rng(seed)
    sides = [draw.uniform(0, 6, draw.integers(1, 6)).tolist() for _ in range(3)]
    how = Contrast(loss="softmax", tau=float(draw.uniform(0.3, 2)), alpha=float(draw.uniform(0, 10)))
    assert how([phis(*sides)]).item() == pytest.approx(naive_published(*sides, how), rel=1e-10)


HOWS = [
    Contrast(),
    Contrast(tau=0.2, alpha=4),
    Contrast(distance="signed"),
    Contrast(loss="softmax", alpha=2),
    Contrast(prototype="batch"),
]


@pytest.mark.parametrize("how", HOWS)
def test_gradients_agree_with_finite_differences(how):
    given = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in ([1.0, 3.3], [2.1, 4.0], [0.4])]
    other = phis([1.5, 1.9], [2.5])
    assert torch.autograd.gradcheck(lambda *sides: how([Phis(*sides), other]), given)


@pytest.mark.parametrize("how", HOWS)
def test_the_order_within_sides_is_nothing(how):
    one = how([phis([1, 3.3, 2], [2.1, 4.0], [0.4, 5])]).item()
    assert how([phis([2, 1, 3.3], [4.0, 2.1], [5, 0.4])]).item() == pytest.approx(one, abs=1e-12)


def test_a_prototype_without_gradient_leaves_one_positive_where_it_is():
    for follows, moves in ((True, True), (False, False)):
        positive = torch.tensor([1.0], requires_grad=True)
        negative = torch.tensor([1.5], requires_grad=True)
        Contrast(prototype_gradient=follows)([Phis(positive, negative, torch.tensor([]))]).backward()
        assert bool(positive.grad.abs() > 0) is moves
        assert negative.grad < 0  # stepping against it makes the negative less likely


def test_a_negative_that_is_likelier_is_made_less_likely_by_the_signed_distance_alone():
    for distance, sign in (("absolute", 1), ("signed", -1)):
        negative = torch.tensor([1.0], requires_grad=True)
        Contrast(distance=distance)([Phis(torch.tensor([2.0]), negative, torch.tensor([]))]).backward()
        assert torch.sign(negative.grad).item() == sign


def test_a_prototype_of_the_batch_is_that_of_all_positives():
    anchors = [phis([1, 2], [3.0]), phis([4.0], [6.0])]
    centre = (1 + 2 + 4) / 3
    losses = []
    for positives, negative in (((1, 2), 3), ((4,), 6)):
        top = sum(math.exp(-abs(phi - centre)) for phi in positives)
        losses.append(math.log(1 + math.exp(-abs(negative - centre)) / top))
    assert Contrast(prototype="batch")(anchors).item() == pytest.approx(sum(losses) / 2, abs=1e-12)


def test_anchors_without_a_side_are_passed_over():
    whole = phis([1, 3], [2, 4])
    alone = Contrast()([whole]).item()
    assert Contrast()([whole, phis([], [5.0]), phis([1.0], [])]).item() == pytest.approx(alone)
    assert Contrast()([phis([1.0], [])]).item() == 0


def test_perplexities_far_apart_do_not_overflow():
    far = phis([3.0, 4.0], [1e5, 2e6])
    loss = Contrast(tau=0.1)([far])
    assert loss.item() == 0
    near = Contrast(tau=1e-3)([phis([3.0, 400.0], [201.5])])
    assert math.isfinite(near.item())
    assert near.item() == pytest.approx((198.5 - 0) / 1e-3 - math.log(2), rel=1e-6)


def test_phi_is_the_log_perplexity_or_the_perplexity():
    losses = torch.tensor([0.0, 1.0])
    assert phi_of(losses, "log-perplexity").tolist() == [0.0, 1.0]
    assert phi_of(losses, "perplexity").tolist() == pytest.approx([1.0, math.e])


def test_the_divergence_by_hand():
    start, now = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.25, 0.75]]))
    by_hand = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert divergence(start + 3, now - 1).item() == pytest.approx(by_hand, abs=1e-6)
