"""Where the samples of a run go: streamed text, texts under headings, or JSON Lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmalgebra.cli.console import error_console, progress_bars

if TYPE_CHECKING:
    from lmalgebra.decoding import Sample
    from lmalgebra.decoding.composed import Prompt
    from lmalgebra.decoding.samples_file import SamplesFile

HEADING_WIDTH = 78


class Results:
    """Takes what a run says; `finished` counts whole samples."""

    def __init__(self) -> None:
        self.finished = 0

    def piece(self, text: str) -> None:
        """Text that has just been said, of any sample."""

    def sample(self, prompt: "Prompt", sample: "Sample") -> None:
        """A sample that is done."""
        self.finished += 1

    def break_off(self) -> None:
        """A sample comes to no end, and an error will be told."""


class StreamedText(Results):
    """The one text of a run, as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._is_within_a_line = False

    def piece(self, text: str) -> None:
        _write(text)
        self._is_within_a_line = True

    def sample(self, prompt: "Prompt", sample: "Sample") -> None:
        _write("\n")
        self._is_within_a_line = False
        super().sample(prompt, sample)

    def break_off(self) -> None:
        if self._is_within_a_line:
            _write("\n")  # on a terminal the error would otherwise go on in the text's line
            self._is_within_a_line = False


class HeadedTexts(Results):
    """Each text whole, under a heading with its prompt and, where there are several, its sample's number."""

    def __init__(self, numbered: bool) -> None:
        super().__init__()
        self._numbered = numbered

    def sample(self, prompt: "Prompt", sample: "Sample") -> None:
        tail = f" · sample {sample.number + 1}" if self._numbered else ""
        gap = "\n" if self.finished else ""
        _write(f"{gap}{_heading(prompt, tail)}\n{sample.text}\n")
        super().sample(prompt, sample)


class PrintedJson(Results):
    """A line of JSON for each sample on standard output."""

    def sample(self, prompt: "Prompt", sample: "Sample") -> None:
        from lmalgebra.decoding.samples_file import sample_line

        _write(sample_line(prompt, sample) + "\n")
        super().sample(prompt, sample)


class SavedJson(Results):
    """A line of JSON for each sample in a file."""

    def __init__(self, file: "SamplesFile") -> None:
        super().__init__()
        self.file = file

    def sample(self, prompt: "Prompt", sample: "Sample") -> None:
        from lmalgebra.decoding.samples_file import sample_line

        self.file.add(sample_line(prompt, sample))
        super().sample(prompt, sample)


@contextmanager
def progress_bar(total: int | None, wanted: bool) -> Iterator[Callable[[], None]]:
    """A bar with counts and the time left; yields what to call after each sample.

    Shown only on a terminal, and only while nothing else is written there.
    """
    if not (wanted and error_console().is_terminal):
        yield lambda: None
        return
    with progress_bars("samples") as bar:
        task = bar.add_task("samples", total=total)
        yield lambda: bar.advance(task)


def _heading(prompt: "Prompt", tail: str) -> str:
    spoken = " ".join((prompt if isinstance(prompt, str) else prompt[-1]["content"]).split())
    room = HEADING_WIDTH - len(tail) - 6
    shown = spoken if len(spoken) <= room else spoken[: room - 1] + "…"
    return f"── {shown}{tail} ──"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
