"""The pool: quantiles that rewards alone decide, the oldest dropped, every experience before any twice."""

import json

import pytest

from lmalgebra.training.policies.pool import Experience, Pool

CONTROLS = ("1", "2", "3", "4", "5")


def pool_of(rewards, capacity=0, controls=CONTROLS):
    pool = Pool(controls, capacity)
    pool.add(Experience(f"p{number}", (number,), reward) for number, reward in enumerate(rewards))
    return pool


@pytest.mark.parametrize(
    ("rewards", "quantiles"),
    [
        (range(10), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        ([3, 1, 2], [4, 0, 2]),
        ([0.5] * 7, [4] * 7),
        ([0, 1, 0, 1], [1, 4, 1, 4]),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], [4] * 9 + [0]),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [2] * 9 + [4]),
        ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [1] * 4 + [2] * 3 + [4] * 3),
    ],
)
def test_quantiles(rewards, quantiles):
    assert pool_of(rewards).quantiles() == quantiles


def test_the_best_reward_has_the_best_control_however_few_have_it():
    pool = pool_of([0.0] * 99 + [1.0])
    assert pool.quantiles()[-1] == 4
    assert pool.best == "5"


def test_equal_rewards_have_one_quantile_in_any_order():
    rewards = [3, 1, 2, 2, 2, 5, 1, 2]
    there, back = pool_of(rewards).quantiles(), pool_of(rewards[::-1]).quantiles()
    assert there == back[::-1]
    assert len({quantile for quantile, reward in zip(there, rewards, strict=True) if reward == 2}) == 1


def test_the_oldest_are_dropped():
    pool = pool_of(range(5), capacity=3)
    assert [each.reward for each in pool.experiences] == [2, 3, 4]
    pool.add([Experience("new", (9,), 0.0)])
    assert [each.prompt for each in pool.experiences] == ["p3", "p4", "new"]


def test_batches_take_each_once_before_any_twice():
    pool = pool_of(range(7))
    taken = [each.reward for batch in pool.batches(3, 5, seed=1) for each, _ in batch]
    assert len(taken) == 15
    assert sorted(taken[:7]) == sorted(taken[7:14]) == list(range(7))
    assert taken != [each.reward for batch in pool.batches(3, 5, seed=2) for each, _ in batch]
    assert all(
        control == CONTROLS[[0, 1, 1, 2, 3, 3, 4][int(each.reward)]]
        for batch in pool.batches(2, 3, 0)
        for each, control in batch
    )


def test_it_goes_through_json():
    pool = pool_of(range(3))
    pool.add([Experience(({"role": "user", "content": "hi"},), (1, 2), 0.25)])
    other = Pool(CONTROLS)
    other.restore(json.loads(json.dumps(pool.lines())))
    assert other.experiences == pool.experiences
