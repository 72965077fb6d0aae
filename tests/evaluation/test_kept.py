"""Values that are computed once, whatever happens in between."""

import json
import os

import pytest

from lmalgebra.errors import EvaluationError, ModelError
from lmalgebra.evaluation.kept import Kept


class Doubling:
    """Twice each number; refuses 13, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, keys):
        self.asked.append(list(keys))
        if 13 in keys:
            raise EvaluationError("Thirteen is unlucky.", "Take twelve.")
        return [EvaluationError("Zero is nothing.") if key == 0 else 2 * key for key in keys]


@pytest.fixture
def compute():
    return Doubling()


def kept(cache, compute, **options):
    return Kept(cache, {"kind": "doubling"}, compute, **options)


def test_a_value_is_computed_once_within_a_call_and_between_processes(cache, compute):
    heard = []
    assert kept(cache, compute)([1, 2, 1], heard.append) == [2, 4, 2]
    assert kept(cache, compute)([2, 3], heard.append) == [4, 6]
    assert compute.asked == [[1, 2], [3]]
    assert heard == [1, 2, 1, 1]  # one known within the call, two computed; then one known, one computed


def test_another_description_is_another_file(cache, compute):
    kept(cache, compute)([1])
    Kept(cache, {"kind": "other"}, compute)([1])
    assert compute.asked == [[1], [1]]
    assert {json.loads(file.read_text())["kind"] for file in cache.glob("*.json")} == {"doubling", "other"}


def test_what_a_stop_has_torn_is_computed_again(cache, compute):
    kept(cache, compute)([1, 2])
    file = kept(cache, compute).path
    file.write_bytes(file.read_bytes()[:-3])
    assert kept(cache, compute)([1, 2]) == [2, 4]
    assert compute.asked == [[1, 2], [2]]
    assert len(file.read_text().splitlines()) == 2


def test_a_block_is_written_before_the_next_is_begun(cache):
    def stopped_at_three(keys):
        if 3 in keys:
            raise KeyboardInterrupt
        return keys

    with pytest.raises(KeyboardInterrupt):
        kept(cache, stopped_at_three, block=2)([1, 2, 3, 4])
    assert kept(cache, Doubling())([1, 2]) == [1, 2]


@pytest.mark.parametrize("line", ["nonsense", '{"a": 1, "b": 2, "c": 3}', '["a", 1, 2]', "7"])
def test_a_damaged_file_is_named(cache, compute, line):
    file = kept(cache, compute).path
    file.write_text(f'{line}\n["a", 1]\n')
    with pytest.raises(EvaluationError, match=f"'{file}' is damaged. Remove that file"):
        kept(cache, compute)


def test_one_refused_key_keeps_nothing_from_the_others(cache, compute):
    values = kept(cache, compute)
    assert values([1, 2, 13, 4, 5]) == [2, 4, None, 8, 10]
    assert values.troubles == ["13: Thirteen is unlucky."]
    again = kept(cache, compute)
    assert again([1, 13]) == [2, None]  # asked again, since the trouble may have passed
    assert compute.asked[-1] == [13]


def test_a_key_without_value_is_told_and_not_kept(cache, compute):
    values = kept(cache, compute)
    assert values([0, 1]) == [None, 2]
    assert values.troubles == ["0: Zero is nothing."]
    assert kept(cache, compute)([0]) == [None]
    assert compute.asked == [[0, 1], [0]]


def test_many_troubles_are_counted(cache):
    def never(keys):
        raise EvaluationError("No.")

    values = kept(cache, never)
    assert values(list(range(100))) == [None] * 100
    assert values.troubles == [*[f"{key}: No." for key in range(5)], "... and so 95 more."]


def test_an_error_of_no_single_key_is_raised_at_once(cache):
    asked = []

    def unloadable(keys):
        asked.append(keys)
        raise ModelError("There is no such judge.")

    with pytest.raises(ModelError, match="no such judge"):
        kept(cache, unloadable)([1, 2, 3])
    assert len(asked) == 1


def test_a_disk_that_refuses_is_told(cache, compute, monkeypatch):
    cache.parent.joinpath("file").touch()
    with pytest.raises(EvaluationError, match=r"cannot be written: Not a directory.* --cache"):
        kept(cache.parent / "file" / "sub", compute)
    values = kept(cache, compute)
    os.symlink("/dev/full", values.path)
    with pytest.raises(EvaluationError, match="cannot be written: No space left on device"):
        values([1])
