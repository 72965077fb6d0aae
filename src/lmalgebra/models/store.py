"""The user's cache folder: where converted weights lie, how a folder of them appears, and whether it is still whole.

A folder appears by one rename of a finished draft, so whatever is there is complete; `lmalgebra.json` in it records
each file's size in bytes, and `damage_in` compares. Known limit: a change that keeps a file's size goes unnoticed.
"""

import contextlib
import errno
import json
import os
import shutil
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from lmalgebra.errors import ModelError

CACHE_VARIABLE = "LMALGEBRA_CACHE"
RECORD = "lmalgebra.json"
RECORD_FORMAT = 1  # raise it when a conversion changes, so that old ones are made again
MEGABYTE = 1_000_000

Report = Callable[[str], None]


def silent(sentence: str) -> None:
    """Reports nothing."""


def cache_folder() -> Path:
    """Where converted weights are kept: LMALGEBRA_CACHE if set, else the user's cache folder. It may not exist yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lmalgebra"))


def publish(folder: Path, build: Callable[[Path], None], *, replace: bool = False, megabytes: int = 0) -> Path:
    """Let `build` fill a draft beside `folder`, then rename it into place; the draft never survives a failure.

    Of two processes that publish at once, the first wins and the other takes the winner's folder.
    `replace` moves aside what is there; `megabytes` is the room needed. Raises ModelError where the disk refuses.
    """
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    old = draft.with_name(draft.name + "-old")
    try:
        with _disk_errors(folder.parent):
            draft.mkdir(parents=True)
            _sweep(folder)
            _check_room(folder.parent, megabytes)
            build(draft)
            if replace:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(folder, old)
            _rename_or_yield(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def damage_in(folder: Path) -> str:
    """One sentence on the first damaged file of a converted folder, or the empty string."""
    for file_name, size in (recorded(folder) or {}).items():
        file = folder / file_name
        if not file.is_file():
            return f"The file {file} is missing."
        found = file.stat().st_size
        if found != size:
            return f"The file {file} has {found:,} bytes where {size:,} were written: it was cut short or changed."
        if file.suffix == ".safetensors" and not _header_agrees(file):
            return f"The file {file} is damaged: its header does not agree with its length."
    return ""


def record(folder: Path) -> None:
    """Write down the size of every file in `folder`: the last step of a conversion."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != RECORD}
    (folder / RECORD).write_text(json.dumps({"format": RECORD_FORMAT, "bytes": sizes}, indent=2) + "\n")


def recorded(folder: Path) -> dict[str, int] | None:
    """The recorded size of each file in bytes, or None where `folder` holds no finished conversion."""
    try:
        written = json.loads((folder / RECORD).read_text())
        return dict(written["bytes"]) if written["format"] == RECORD_FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _header_agrees(file: Path) -> bool:
    """Whether a safetensors file is as long as its own header says."""
    try:
        with file.open("rb") as stream:
            (header_length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(header_length, 100 * MEGABYTE)))
        ends = [part["data_offsets"][1] for key, part in header.items() if key != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return False
    return file.stat().st_size == 8 + header_length + max(ends, default=0)


def _sweep(folder: Path) -> None:
    """Remove the drafts of `folder` that a killed process left behind more than a day ago."""
    for draft in folder.parent.glob(f".{folder.name}-*"):
        if time.time() - draft.lstat().st_mtime > 86_400:
            shutil.rmtree(draft, ignore_errors=True)


def _rename_or_yield(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError:
        if recorded(folder) is None:  # nobody else finished first: the failure is real
            raise


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Says which folder the disk refused, and which variable moves it."""
    hint = f"Set {CACHE_VARIABLE} to a folder you can write to."
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if full:  # safetensors raises a class of its own here
            raise ModelError(f"The disk of {folder} is full.", f"Free some room, or s{hint[1:]}") from error
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or error
        raise ModelError(f"The cache folder {folder} cannot be written ({reason}).", hint) from error


def _check_room(folder: Path, megabytes: int) -> None:
    free = shutil.disk_usage(folder).free // MEGABYTE
    if free < megabytes:
        hint = f"Free some room, or set {CACHE_VARIABLE} to a folder on a larger disk."
        raise ModelError(f"The disk of {folder} has {free:,} MB free where about {megabytes:,} MB are needed.", hint)
