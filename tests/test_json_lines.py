"""Files of JSON Lines that grow: what a stop tears is cut off, and nothing of anyone else's is."""

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.json_lines import LinesFile


def opened(path, resume=True):
    return LinesFile(path, "things", resume, TrainingError)


def test_what_is_added_is_read_again_after_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "things.jsonl"
    file = opened(path, resume=False)
    file.add([{"a": "ä"}, {"a": 2}])
    file.close()
    path.write_bytes(path.read_bytes() + b'{"a": 3, "b"')
    file = opened(path)
    assert list(file.values()) == [{"a": "ä"}, {"a": 2}]
    file.add([{"a": 4}])
    assert list(file.values()) == [{"a": "ä"}, {"a": 2}, {"a": 4}]
    file.keep(1)
    file.add([{"a": 5}])
    file.close()
    assert path.read_text("utf-8") == '{"a": "ä"}\n{"a": 5}\n'


def test_half_a_character_is_written_as_it_can_be(tmp_path):
    file = opened(tmp_path / "things.jsonl")
    file.add([{"a": "\ud800"}])
    file.close()
    assert (tmp_path / "things.jsonl").read_text("utf-8") == '{"a": "\\ud800"}\n'


def test_what_is_there_is_not_written_over(tmp_path):
    path = tmp_path / "things.jsonl"
    path.write_text("{}\n")
    with pytest.raises(TrainingError, match=r"already holds something. Add --resume to go on with it"):
        opened(path, resume=False)
    path.write_text("a letter\nto a friend")
    with pytest.raises(TrainingError, match=r"ends with no line of things. This is no file of things; name another."):
        opened(path)
    assert path.read_text() == "a letter\nto a friend"


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(TrainingError, match="cannot be written: No such file or directory"):
        opened(tmp_path / "none" / "things.jsonl")


def test_a_full_disk_is_a_sentence():
    from pathlib import Path

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    file = opened(Path("/dev/full"))
    with pytest.raises(TrainingError, match="cannot be written: No space left on device"):
        file.add([{}])
    file.close()
