"""Which weights a name stood for: digests that go into results, so that they can be reproduced."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from lmalgebra.errors import ModelError
from lmalgebra.models import catalog
from lmalgebra.models.engines import is_toy
from lmalgebra.models.loading import resolve
from lmalgebra.models.store import silent

WEIGHTS = ("*.safetensors", "*.gguf", "config.json", "tokenizer.json", "lmalgebra.json")
"""The files of a folder that decide what its model says."""


def fingerprint(source: str, revision: str = "main") -> str:
    """What tells the weights of a catalogue name, folder, file, hub id or address from others of that name.

    SHA-256 of files' content; the commit of a hub's `revision`, which is asked for where it is not known yet; else
    `source`.
    """
    if source in catalog.names():
        return catalog.entry(source).gguf_sha256
    path = Path(source).expanduser()
    if path.is_file():
        return _digest(path, path.stat().st_size, path.stat().st_mtime_ns)
    if path.is_dir():
        files = sorted(file for pattern in WEIGHTS for file in path.glob(pattern))
        parts = [f"{file.name} {_digest(file, file.stat().st_size, file.stat().st_mtime_ns)}" for file in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return (_hub_commit(source, revision) if source.count("/") == 1 else "") or (
        source if revision == "main" else f"{source}@{revision}"
    )


def weights_of(source: str, revision: str = "main") -> str:
    """The fingerprint of weights that will be loaded. Raises ModelError where it could not: better now than after
    hours of work."""
    if is_toy(source) or source in catalog.names():
        return fingerprint(source)
    folder = resolve(source, silent)
    found = fingerprint(source, revision)
    if found.startswith(source) and not Path(folder).exists():  # no commit could be had
        raise ModelError(
            f"'{source}' is neither on this machine nor can it be had from its hub.",
            "Check its name, its revision and the network, or name a folder.",
        )
    return found


def digest(value: object, characters: int = 16) -> str:
    """A name for a JSON value: the same for equal ones."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:characters]


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, changed: int) -> str:
    """`size` and `changed` (nanoseconds) tell whether it is still the same."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=256)
def _hub_commit(source: str, revision: str) -> str:
    """The commit that loading `source` from its hub gives; fetched with the configuration if it is not known yet, so
    that weights have one name before and after they are first loaded."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(source, "config.json", revision=revision)
        place = found if isinstance(found, str) else hf_hub_download(source, "config.json", revision=revision)
    except (OSError, ValueError):  # not there, or no hub id; loading will say what is wrong
        return ""
    return Path(place).parent.name
