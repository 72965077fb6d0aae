"""Rows under adapters beside rows without. Each answer is checked by `Followed`, against models with merged weights."""

import pytest
import torch
from backends import CACHED_NAMES, NAMES, RECOMPUTED, REMOTE, Backend, backend, interrupted
from followed import Followed, some_tokens

from lmalgebra.algebra.adapter import summands
from lmalgebra.errors import ModelError

LARGE = 0.1
ADAPTED = [name for name in NAMES if name not in REMOTE]  # a remote's adapters are at its server


@pytest.fixture(params=ADAPTED, name="backend")
def each_with_adapters(request) -> Backend:
    return backend(request.param)


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_change_the_logits_far_beyond_the_tolerance(name):
    ours, tokens = backend(name), some_tokens(20)
    said = [ours.logits(tokens, adapter) for adapter in (None, *ours.adapters)]
    for index, one in enumerate(said):
        assert all((one - other).abs().max() > LARGE for other in said[:index])


def test_rows_under_different_adapters_and_none_share_a_pass(rows):
    first, second, both = rows.backend.adapters
    opened = [rows.open(some_tokens(3, i), adapter=each) for i, each in enumerate((None, first, second, both, None))]
    for lengths in ((3, 1, 20, 7, 2), (1, 1, 1, 1, 1), (2, 40, 1, 18, 3), (1, 1, 1, 1, 1)):
        rows.extend({row: some_tokens(count, row) for row, count in zip(opened, lengths, strict=True)})


def test_rows_under_adapters_lie_among_others_in_any_order(rows):
    first, second, both = rows.backend.adapters
    kinds = (first, None, second, first, both, None, first)
    opened = [rows.open(some_tokens(4, seed), adapter=each) for seed, each in enumerate(kinds)]
    rows.extend({row: [1] for row in opened})
    for chosen in ((0, 6), (3,), (1, 5), (2, 4, 0), (6, 5, 4, 3, 2, 1, 0)):
        rows.extend({opened[i]: [i] for i in chosen})


def test_a_fork_stays_under_the_adapter_of_its_row(rows):
    for adapter in rows.backend.adapters:
        first = rows.open(some_tokens(10), adapter=adapter)
        second = rows.fork(first, 7)
        rows.extend({first: [2, 3], second: [4]})
        third = rows.fork(second)
        rows.session.park(first)
        rows.close(second)
        rows.extend({first: [5], third: [6, 7, 8]})


def test_rewound_rows_stay_under_their_adapters(rows):
    opened = [rows.open(some_tokens(6), adapter=adapter) for adapter in (*rows.backend.adapters, None)]
    rows.extend({row: some_tokens(20, row) for row in opened})
    for index, row in enumerate(opened):
        rows.rewind(row, 9 * (index % 2))
    rows.extend({row: some_tokens(3, row) for row in opened})
    rows.check_all()


@pytest.mark.usefixtures("small_passes")
def test_prompts_longer_than_a_pass_are_read_under_their_adapters(rows):
    kinds = (None, *rows.backend.adapters)
    opened = [rows.open(some_tokens(count), adapter=each) for count, each in zip((0, 30, 4, 7), kinds, strict=True)]
    rows.extend({row: some_tokens(count, 1) for row, count in zip(opened, (25, 1, 8, 7), strict=True)})
    rows.extend_last({row: some_tokens(9, 2) for row in opened})


def test_an_adapter_of_weight_nought_changes_nothing(rows):
    place, _ = summands(rows.backend.adapters[0])[0]
    row, plain = (rows.session.open(some_tokens(5), adapter=adapter) for adapter in (((place, 0.0),), None))
    found = rows.session.extend({row: [1, 2], plain: [1, 2]})
    torch.testing.assert_close(found[row], found[plain], rtol=0, atol=1e-5)


def test_an_adapter_that_cannot_be_had_changes_no_row(rows):
    place, _ = summands(rows.backend.adapters[0])[0]
    row = rows.open([1, 2], adapter=place)
    rows.extend({row: [3]})
    for adapter in ("kind", ((place, 0.5), ("kind", 0.5))):
        for use in (rows.session.open, rows.session.load_adapter):
            with pytest.raises(ModelError, match="The adapter 'kind' cannot be used"):
                use(adapter=adapter)
    rows.check_all()


def test_an_adapter_can_be_loaded_before_and_while_rows_are_open(rows):
    row = rows.open([1, 2])
    for adapter in rows.backend.adapters:
        rows.session.load_adapter(adapter)
        rows.extend({row: [3]})
        rows.extend({rows.open([4], adapter=adapter): [5], row: [6]})


@pytest.mark.usefixtures("small_passes")
@pytest.mark.parametrize("after", [0, 2])
def test_an_interruption_leaves_rows_under_their_adapters(rows, monkeypatch, after):
    kinds = (None, *rows.backend.adapters)
    opened = [rows.open(some_tokens(count), adapter=each) for count, each in zip((5, 20, 0, 3), kinds, strict=True)]
    rows.extend({opened[0]: [1], opened[3]: [2]})
    with interrupted(monkeypatch, after), pytest.raises(KeyboardInterrupt):
        rows.session.extend({row: some_tokens(9) for row in opened})
    rows.check_all()


@pytest.mark.parametrize("name", [*CACHED_NAMES, *RECOMPUTED])
def test_nothing_watches_a_model_before_its_first_adapter(name):
    session = backend(name).new_session()
    hooks = [module._forward_hooks for module in session.network.modules()]
    session.extend({session.open([1]): [2]})
    assert not any(hooks)
    session.open([1], adapter=backend(name).adapters[0])
    assert any(hooks)


@pytest.mark.parametrize("name", [*CACHED_NAMES, *RECOMPUTED])
def test_the_weights_of_the_model_stay_as_they_are(name):
    rows = Followed(backend(name))
    before = {key: value.clone() for key, value in rows.session.network.state_dict().items()}
    rows.extend({rows.open([1], adapter=adapter): [2] for adapter in rows.backend.adapters})
    after = rows.session.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
