"""The planner's arithmetic against hand-worked values and simulation, and its choices over simulated machines."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import pytest

from lmalgebra.decoding.planner import LOOKAHEADS, LOOKUP, WHOLE, Option, Planner, acts, gain

PLAIN = Option("plain", ())
COPY = Option("prompt > all", (LOOKUP,))
SMALL = Option("small > all", ("small",))
MEDIUM = Option("medium > all", ("medium",))
BOTH = Option("small > medium > all", ("small", "medium"))
COPY_FIRST = Option("prompt > medium > all", (LOOKUP, "medium"))
EVERY = (PLAIN, COPY, SMALL, MEDIUM, BOTH, COPY_FIRST)

Lines = dict[str, tuple[float, float]]
COSTS: Lines = {"small": (0.004, 0.0002), "medium": (0.010, 0.0005), WHOLE: (0.030, 0.001)}
ACCEPTED = {
    (LOOKUP, WHOLE): 0.5,
    (LOOKUP, "medium"): 0.6,
    ("small", WHOLE): 0.7,
    ("small", "medium"): 0.8,
    ("medium", WHOLE): 0.9,
}


@dataclass
class Machine:
    """Decoding as the planner's module describes it, with chances drawn from a seed and seconds from lines."""

    costs: Lines = field(default_factory=lambda: dict(COSTS))
    accepted: dict[tuple[str, str], float] = field(default_factory=lambda: dict(ACCEPTED))
    drafted: float = 1.0
    noise: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def seconds(self, key: str, tokens: int) -> float:
        intercept, slope = self.costs[key]
        return (intercept + slope * tokens) * (1 + self.noise * self.chance.uniform(-1, 1))

    def cycle(self, option: Option, lookaheads: Sequence[int], samples: int, planner: Planner | None = None):
        """Seconds of one cycle and the tokens that each sample gained; `planner` is told what was measured."""
        total, keys = 0.0, option.keys

        def run(key: str, tokens: int) -> None:
            nonlocal total
            seconds = self.seconds(key, tokens)
            total += seconds
            if planner:
                planner.costs[key].add(tokens, seconds)

        def judged(pair: tuple[str, str], drafts: int) -> int:
            accepted = 0
            while accepted < drafts and self.chance.random() < self.accepted[pair]:
                accepted += 1
            if planner:
                planner.acceptances[pair].add(accepted, min(drafts, accepted + 1))
            return accepted + 1

        def act(stage: int) -> list[int]:
            """Draft and judge once; the tokens gained for each sample."""
            key = keys[stage]
            drafts = draft(stage - 1) if stage else [0] * samples
            run(key, sum(drafts) + samples)
            return [judged((keys[stage - 1], key), count) if stage else 1 for count in drafts]

        def draft(stage: int) -> list[int]:
            wanted = lookaheads[stage]
            if keys[stage] == LOOKUP:
                found = [wanted * (self.chance.random() < self.drafted) for _ in range(samples)]
                if planner:
                    planner.proposals[LOOKUP].add(sum(map(bool, found)), samples)
                return found
            has = [0] * samples
            while min(has) < wanted:
                has = [before + gained for before, gained in zip(has, act(stage), strict=True)]
            return [wanted] * samples

        gained = act(len(keys) - 1)
        return total, gained


def informed(options: Sequence[Option] = EVERY, machine: Machine | None = None, **settings) -> Planner:
    """A planner that has measured the machine's costs and chances exactly."""
    machine, planner = machine or Machine(), Planner(options, **settings)
    for key, cost in planner.costs.items():
        if key != LOOKUP:
            for tokens in (1, 8, 64):
                cost.add(tokens, machine.seconds(key, tokens))
    for pair, acceptance in planner.acceptances.items():
        acceptance.add(machine.accepted[pair] * 10_000, 10_000)
    planner.proposals[LOOKUP].add(machine.drafted * 10_000, 10_000)
    return planner


def after_first_trials(planner: Planner, samples: int = 1) -> tuple[Option, tuple[int, ...]]:
    for _ in range(3 * len(planner.options)):
        planner.choose(samples)
    return planner.choose(samples)


def decode(planner: Planner, machine: Machine, cycles: int, samples: int = 1):
    """The options chosen in each cycle, and seconds for a token of all samples."""
    chosen, seconds, tokens = [], 0.0, 0
    for _ in range(cycles):
        option, lookaheads = planner.choose(samples)
        took, gained = machine.cycle(option, lookaheads, samples, planner)
        chosen.append(option)
        seconds += took
        tokens += sum(gained)
    return chosen, seconds / tokens


def test_the_gain_of_a_judging_pass():
    assert gain(1, 0.5) == 1.5
    assert gain(4, 0.8) == pytest.approx((1 - 0.8**5) / (1 - 0.8)) == pytest.approx(3.3616)
    assert (gain(4, 0.0), gain(4, 1.0)) == (1, 5)


def test_the_acts_of_a_middle_stage():
    assert acts(3, 1, 0.5) == (1, 1.5, 2.25)  # gains 1 or 2, evenly; 3 tokens: 1+1+1, 1+1+2, 1+2, 2+1, 2+2
    assert acts(3, 1, 1.0) == (1, 1, 2)
    assert acts(4, 3, 0.0) == acts(4, 3, 0.9, drafted=0.0) == (1, 2, 3, 4)
    assert acts(2, 1, 0.5, drafted=0.5) == (1, 1.75)
    assert acts(2, 1, 0.5, samples=2) == (1, 1.75)  # the slower of two takes one act with chance 1/4, else two


def test_plain_seconds():
    assert informed().expected(PLAIN, (), 1) == pytest.approx(0.031)
    assert informed().expected(PLAIN, (), 8) == pytest.approx(0.038 / 8)


def test_seconds_of_two_stages():
    """4 drafting passes of one token, one of 5 tokens, for 1 + 0.7 + 0.49 + 0.343 + 0.2401 tokens."""
    assert informed().expected(SMALL, (4,), 1) == pytest.approx((4 * 0.0042 + 0.035) / 2.7731)
    assert informed().expected(SMALL, (4,), 3) == pytest.approx((4 * 0.0046 + 0.045) / (3 * 2.7731))


def test_seconds_of_copied_drafts():
    """Half of the cycles have no draft and are plain ones."""
    planner = informed(machine=Machine(drafted=0.5))
    assert planner.expected(COPY, (2,), 1) == pytest.approx((0.031 + 0.033) / (1 + 1.75))


def test_seconds_of_three_stages():
    """With chance 0.8 the middle stage gains 2 of 1 drafted token, so it has 2 after 1.2 acts."""
    act = 0.0042 + 0.011
    assert informed().expected(BOTH, (1, 2), 1) == pytest.approx((1.2 * act + 0.033) / (1 + 0.9 + 0.81))


def test_nothing_is_expected_of_an_unmeasured_stage():
    planner = Planner(EVERY)
    assert planner.expected(PLAIN, (), 1) is None
    planner.costs[WHOLE].add(1, 0.03)
    assert planner.expected(PLAIN, (), 1) == pytest.approx(0.03)
    assert planner.expected(SMALL, (4,), 1) is None
    assert planner.expected(COPY, (4,), 1) is not None


@pytest.mark.parametrize(
    ("option", "lookaheads", "samples"),
    [
        (SMALL, (5,), 1),
        (SMALL, (3,), 4),
        (COPY, (6,), 1),
        (COPY, (4,), 3),
        (BOTH, (1, 2), 1),
        (BOTH, (3, 8), 1),
        (BOTH, (6, 4), 1),
        (BOTH, (2, 6), 4),
        (COPY_FIRST, (4, 6), 1),
        (COPY_FIRST, (3, 8), 4),
    ],
)
def test_the_expectation_agrees_with_simulation(option, lookaheads, samples):
    """To 1.5 %, over 8,000 cycles."""
    machine = Machine(drafted=0.6)
    expected = informed(machine=machine).expected(option, lookaheads, samples)
    cycles = [machine.cycle(option, lookaheads, samples) for _ in range(8_000)]
    found = sum(seconds for seconds, _ in cycles) / sum(sum(gained) for _, gained in cycles)
    assert found == pytest.approx(expected, rel=0.015)


COSTS_TRIED: list[Lines] = [
    COSTS,
    {"small": (0.001, 0.0), "medium": (0.005, 0.0), WHOLE: (0.1, 0.0)},
    {"small": (0.03, 0.001), "medium": (0.03, 0.001), WHOLE: (0.03, 0.001)},
    {"small": (0.002, 0.001), "medium": (0.004, 0.002), WHOLE: (0.006, 0.01)},
]


@pytest.mark.parametrize("costs", COSTS_TRIED)
@pytest.mark.parametrize("samples", [1, 8])
def test_the_choice_is_the_best_of_all(costs, samples):
    planner = informed(machine=Machine(costs, drafted=0.7))
    everything = [
        (planner.expected(option, lookaheads, samples), option.name, lookaheads)
        for option in EVERY
        for lookaheads in product([n for n in LOOKAHEADS if n <= 16], repeat=len(option.stages))
    ]
    option, lookaheads = after_first_trials(planner, samples)
    assert (planner.expected(option, lookaheads, samples), option.name, lookaheads) == min(everything)


@pytest.mark.parametrize("costs", COSTS_TRIED)
def test_little_is_lost_by_leaving_lookaheads_out(costs):
    planner = informed(machine=Machine(costs, drafted=0.7))
    option, lookaheads = after_first_trials(planner)
    found = planner.expected(option, lookaheads, 1)
    every = (planner.expected(option, each, 1) for each in product(range(1, 17), repeat=len(option.stages)))
    assert found <= 1.02 * min(every)


def test_lookaheads_are_at_most_the_largest():
    cheap = Machine({"small": (0.0001, 0.0), WHOLE: (1.0, 0.0)}, {("small", WHOLE): 0.99})
    assert after_first_trials(informed((PLAIN, SMALL), cheap, largest=6)) == (SMALL, (6,))
    planner = informed((PLAIN, SMALL), cheap, largest=2)
    assert {planner.choose(1)[1] for _ in range(300)} <= {(), (1,), (2,)}


def test_every_option_is_tried_first_and_shortly():
    planner = Planner(EVERY)
    chosen = [planner.choose(1) for _ in range(18)]
    assert [option for option, _ in chosen] == [option for option in EVERY for _ in range(3)]
    assert {lookahead for _, lookaheads in chosen for lookahead in lookaheads} == {4}


def test_the_first_option_goes_on_while_nothing_is_measured():
    assert after_first_trials(Planner(EVERY)) == (PLAIN, ())


@pytest.mark.parametrize("samples", [1, 8])
def test_plain_is_chosen_where_drafting_does_not_pay(samples):
    machine = Machine(dict.fromkeys(COSTS, (0.03, 0.001)), noise=0.05)
    chosen, seconds = decode(Planner((PLAIN, SMALL, MEDIUM, BOTH)), machine, 1000, samples)
    assert chosen[100:].count(PLAIN) > 0.9 * 900
    assert seconds < 1.15 * (0.03 + 0.001 * samples) / samples


def test_drafting_is_chosen_where_it_pays():
    """Including all trials, 1,000 cycles take at most 10 % longer than the best option from the start."""
    machine = Machine(drafted=0.0, noise=0.05)
    best, lookaheads = after_first_trials(informed(machine=machine))
    chosen, seconds = decode(Planner(EVERY), machine, 1000)
    assert chosen.count(PLAIN) < 30
    assert seconds < 1.1 * informed(machine=machine).expected(best, lookaheads, 1) < 0.7 * 0.031


def test_copies_that_are_never_found_cost_nothing():
    _, seconds = decode(Planner((PLAIN, COPY)), Machine(drafted=0.0), 300)
    assert seconds == pytest.approx(0.031)


def test_the_choice_follows_a_drop_of_acceptance_and_its_return():
    machine, planner = Machine({**COSTS, "small": (0.015, 0.0)}, noise=0.02), Planner((PLAIN, SMALL))
    machine.accepted["small", WHOLE] = 0.9
    before, _ = decode(planner, machine, 200)
    machine.accepted["small", WHOLE] = 0.02
    dropped, _ = decode(planner, machine, 400)
    machine.accepted["small", WHOLE] = 0.9
    back, _ = decode(planner, machine, 1500)
    assert before[20:].count(SMALL) > 170
    assert dropped[60:].count(PLAIN) > 320
    assert back[-400:].count(SMALL) > 360


def test_trying_is_bounded():
    """At most 3 of any 96 cycles after the first trials, however many options there are."""
    planner = informed()
    current, _ = after_first_trials(planner)
    tried = [planner.choose(1)[0] != current for _ in range(5_000)]
    assert any(tried)
    assert max(sum(tried[start : start + 96]) for start in range(len(tried) - 96)) <= 3


def test_later_trials_are_short_too():
    planner = informed((PLAIN, COPY, SMALL), Machine({"small": (0.0, 0.0), WHOLE: (0.03, 0.0)}))
    assert after_first_trials(planner)[1] == (16,)
    chosen = [planner.choose(1) for _ in range(1000)]
    assert {lookaheads for option, lookaheads in chosen if option == COPY} == {(4,)}


def test_what_is_costly_is_tried_ever_more_rarely():
    machine = Machine({"small": (0.1, 0.0), WHOLE: (0.03, 0.0)})
    planner = informed((PLAIN, SMALL), machine)
    after_first_trials(planner)
    times = [cycle for cycle in range(20_000) if planner.choose(1)[0] == SMALL][::3]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] > 96 * 2  # it costs more than twice as much
    assert all(later > 1.9 * earlier for earlier, later in pairwise(waits) if later < 4000)
    assert max(waits) < 4096 + 2 * 96
    assert len(times) < 12


def costing(share: float) -> Machine:
    """A machine where drafting one token, the best number, costs `share` of plain decoding for each token."""
    return Machine({"small": (0.03 * (1.5 * share - 1), 0.0), WHOLE: (0.03, 0.0)}, {("small", WHOLE): 0.5})


def test_a_close_option_is_tried_more_often_than_a_far_one():
    close, far = informed((PLAIN, SMALL), costing(0.9)), informed((PLAIN, SMALL), costing(1.5))
    times = []
    for planner in (close, far):
        current, _ = after_first_trials(planner)
        times.append(sum(planner.choose(1)[0] != current for _ in range(10_000)) / 3)
    assert times[0] > 95
    assert 3 <= times[1] < 10


@pytest.mark.parametrize(("share", "expected"), [(0.97, PLAIN), (0.93, SMALL)])
def test_another_option_must_be_five_percent_better(share, expected):
    assert after_first_trials(informed((PLAIN, SMALL), costing(share)))[0] == expected


@pytest.mark.parametrize(("share", "expected"), [(1.03, SMALL), (1.08, PLAIN)])
def test_the_current_option_stays_while_it_is_little_worse(share, expected):
    planner = informed((PLAIN, SMALL), costing(0.9))
    assert after_first_trials(planner)[0] == SMALL
    for tokens in (1, 8, 64) * 9:
        planner.costs["small"].add(tokens, costing(share).seconds("small", tokens))
    assert [planner.choose(1)[0] for _ in range(20)][-1] == expected


def test_choosing_is_deterministic():
    runs = [decode(Planner(EVERY), Machine(noise=0.1, drafted=0.4), 500) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_pause_of_the_machine_changes_nothing():
    planner, machine = Planner((PLAIN, SMALL)), Machine(noise=0.02)
    decode(planner, machine, 100)
    for key in (WHOLE, "small"):
        planner.costs[key].add(1, 30.0)
        planner.costs[key].add(5, 30.0)
    chosen, _ = decode(planner, machine, 80)
    assert chosen.count(SMALL) >= 77
