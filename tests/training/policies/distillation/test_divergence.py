"""The divergence by hand, and on an exact toy: a student that can be its teacher becomes it."""

import json

import torch

import lmalgebra as la
from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.models.table import TableModel
from lmalgebra.training.policies.distillation.divergence import distillation_loss, divergence, likeness
from lmalgebra.training.policies.per_token import summed
from lmalgebra.training.policies.policy import FormulaPolicy, Judged
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.toy_network import ToyNetwork
from training.policies.exact_policy import ALL, TabularPolicy, of_texts


def test_it_is_the_sum_over_the_vocabulary():
    teacher, student = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.5, 0.25]])
    found = divergence(Judged(student.log(), teacher.log(), torch.tensor([0]), torch.tensor([0])))
    torch.testing.assert_close(found, torch.tensor([0.5]) * torch.tensor(2.0).log())


def test_what_neither_allows_has_no_gradient_and_what_the_student_forbids_is_infinite():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    teacher = torch.tensor([[0.7, 0.3, 0.0]]).log()
    judged = Judged(logits.log_softmax(-1), teacher, torch.tensor([0]), torch.tensor([0]))
    distillation_loss(judged).total.backward()
    expected = logits.detach().softmax(-1) - teacher.exp()
    torch.testing.assert_close(logits.grad, expected)
    forbids = Judged(teacher, torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]), torch.tensor([0]))
    assert divergence(forbids).isinf().all()


def test_over_the_teachers_texts_it_is_the_divergence_of_whole_texts_with_the_gradient_of_imitating_them():
    student = TabularPolicy()
    with torch.no_grad():
        student.adapter += torch.randn(student.adapter.shape, generator=torch.Generator().manual_seed(0)).double()
    said = student.judge(ALL)
    law = of_texts(student.reference, student.place)
    by_tokens = (law.exp() * summed(divergence(said), said.owner, len(ALL))).sum()
    whole = (law.exp() * (law - student.law())).sum()
    imitating = -(law.exp() * student.law()).sum()
    torch.testing.assert_close(by_tokens, whole, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(each, student.adapter)[0] for each in (by_tokens, whole, imitating)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-10, atol=1e-12)


def toy_student(folder):
    """A table of one token that learns from a formula over two others, so that it can say exactly the same."""
    tables = []
    for seed in (1, 2):
        rows = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).softmax(-1)
        pieces = ["a", "b", "c", "<end>"]
        named = {"": rows[3].tolist()} | {piece: row.tolist() for piece, row in zip(pieces, rows, strict=False)}
        file = folder / f"{seed}.json"
        file.write_text(json.dumps({"pieces": pieces, "end": "<end>", "order": 1, "rows": named}))
        tables.append(Model(source=str(file)))
    terms = {name: model.term(name=name, prefix="") for name, model in zip(("base", "bad"), tables, strict=True)}
    network = ToyNetwork(TableModel.from_file(folder / "1.json"), order=1)
    voice = Voice(parse("student", {"student": tables[0].term(name="student", prefix="")}))
    voice = Voice(voice.formula, GenerationSettings(max_new_tokens=4))
    teacher = parse("base - 0.4 * union(bad, base)", terms)
    return FormulaPolicy(voice, "student", network, la.Models(), reference=teacher)


def test_a_student_that_can_be_its_teacher_becomes_it(tmp_path):
    policy = toy_student(tmp_path)
    rollouts = Rollouts(policy)
    prompts = ["a", "b", "c"]
    fresh = rollouts.sample_reference(prompts, samples=20, seed=99)
    before = likeness(policy, fresh, 20)
    optimizer = torch.optim.Adam(policy.trainee.parameters(), lr=0.2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=100)
    for step in range(100):
        said = rollouts.sample_reference(prompts, samples=4, seed=step * 10)
        judged = policy.judge([each.prompt for each in said], [each.tokens for each in said])
        optimizer.zero_grad()
        distillation_loss(judged).total.backward()
        optimizer.step()
        schedule.step()
    after = likeness(policy, fresh, 20)
    assert before.kl > 0.1
    assert 0 <= after.kl < 2e-4
    assert after.agreement == 1
    assert abs(after.student - after.teacher) < 0.02
    assert rollouts.sample(prompts, samples=4, seed=5)  # and it speaks
