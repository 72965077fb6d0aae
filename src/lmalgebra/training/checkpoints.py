"""A training's folder: what it has reached, so that a stop loses little, and its result, which appears whole.

OUTPUT-unfinished/    settings.json  checkpoint-200/  checkpoint-400/ ...  until it is done
OUTPUT/               the result, by one rename
OUTPUT-tracked/       what trackers such as TensorBoard write beside it
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.training.processes import ALONE, Processes

SETTINGS = "settings.json"
STATE = "trainer_state.json"
"""The last file of a checkpoint that Transformers writes; so it is of every checkpoint."""

KEPT = 2
"""Checkpoints that are kept: should the disk fill up while one is written, there is another."""

Stop = Callable[[], bool]
"""Says after each step whether to stop there."""


class Stopped(LmalgebraError):
    """The training was asked to stop, and has left a checkpoint."""

    @classmethod
    def after(cls, step: int, steps: int) -> Stopped:
        """What to say when it was."""
        return cls(f"Stopped after step {step:,} of {steps:,}.", "The same command with --resume goes on.")


class Workplace:
    """The folders of a training that ends in `output`; a context, at whose end what holds no checkpoint is removed, so
    that a mended command can begin anew.

    `settings` decide the trajectory; going on with others is refused. Raises TrainingError when `output` is there, when
    something is unfinished and `resume` is not asked for, or when it is and nothing is. Of several `processes` the
    first does it all, and what it meets is raised in the others too.
    """

    def __init__(self, output: str, settings: Mapping[str, Any], resume: bool, processes: Processes = ALONE) -> None:
        self.output = Path(output).expanduser().absolute()
        self.unfinished = self.output.with_name(f"{self.output.name}-unfinished")
        self.tracked = self.output.with_name(f"{self.output.name}-tracked")
        self._is_tracked_before = self.tracked.exists()
        self._processes = processes
        processes.first(lambda: self._claim(output, settings, resume))

    def _claim(self, output: str, settings: Mapping[str, Any], resume: bool) -> None:
        if self.output.exists():
            raise TrainingError(
                f"The output '{output}' is already there, and is left as it is.", "Name another folder."
            )
        if self.unfinished.exists() and not resume:
            raise TrainingError(
                f"'{self.unfinished}' holds an unfinished training.", "Add --resume to go on with it, or remove it."
            )
        if resume and not self.unfinished.exists():
            raise TrainingError(f"There is no '{self.unfinished}' to go on with.", "Leave --resume out.")
        with self.disk_errors():
            self._agree(settings)

    def _agree(self, settings: Mapping[str, Any]) -> None:
        """Write the settings down, or compare them with those that are."""
        file, wanted = self.unfinished / SETTINGS, json.loads(json.dumps(settings))
        if not file.exists():
            self.unfinished.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
            return
        known = json.loads(file.read_text(encoding="utf-8"))
        for key in wanted:
            if known.get(key) != wanted[key]:
                raise TrainingError(
                    f"The unfinished training has {key} = {known.get(key)!r}, not {wanted[key]!r}.",
                    "Go on with the same settings and data, or name another output.",
                )

    def last_checkpoint(self) -> Path | None:
        """The furthest checkpoint that is whole."""
        return self._processes.first(self._last_whole)

    def _last_whole(self) -> Path | None:
        for each in self._checkpoints():
            try:
                json.loads((each / STATE).read_text(encoding="utf-8"))
                return each
            except (OSError, ValueError):
                shutil.rmtree(each, ignore_errors=True)  # torn by a crash or a full disk
        return None

    def keep(self, step: int, build: Callable[[Path], None]) -> None:
        """Let `build` fill a checkpoint, `STATE` included, which appears whole; older ones but `KEPT` go."""
        self._processes.first(lambda: self._keep(step, build))

    def _keep(self, step: int, build: Callable[[Path], None]) -> None:
        draft, place = self.unfinished / "checkpoint", self.unfinished / f"checkpoint-{step}"
        with self.disk_errors():
            shutil.rmtree(draft, ignore_errors=True)
            try:
                draft.mkdir()
                build(draft)
                shutil.rmtree(place, ignore_errors=True)
                os.rename(draft, place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)  # what is half written holds room that a full disk lacks
        for each in self._checkpoints()[KEPT:]:
            shutil.rmtree(each, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._processes.is_first or self.output.exists() or self._checkpoints():
            return
        shutil.rmtree(self.unfinished, ignore_errors=True)
        if not self._is_tracked_before:
            shutil.rmtree(self.tracked, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        """The furthest first."""
        found = [each for each in self.unfinished.glob("checkpoint-*") if each.name.rpartition("-")[2].isdecimal()]
        return sorted(found, key=lambda folder: -int(folder.name.rpartition("-")[2]))

    def finish(self, build: Callable[[Path], None]) -> None:
        """Let `build` fill the result, put it in its place, and clear up."""
        self._processes.first(lambda: self._finish(build))

    def _finish(self, build: Callable[[Path], None]) -> None:
        draft = self.unfinished / "result"
        with self.disk_errors():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            build(draft)
            os.rename(draft, self.output)
        shutil.rmtree(self.unfinished, ignore_errors=True)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Says what the disk refused, and that nothing is lost."""
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:
            is_full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
            if is_full or "PytorchStreamWriter failed" in str(error):  # safetensors and PyTorch raise their own
                raise TrainingError(
                    f"The disk of {self.output.parent} is full.",
                    "Free some room; the same command with --resume goes on from the last checkpoint.",
                ) from error
            if not isinstance(error, OSError):
                raise
            reason = error.strerror or error
            raise TrainingError(
                f"The folder {self.output.parent} cannot be written ({reason}).", "Choose a folder you can write to."
            ) from error
