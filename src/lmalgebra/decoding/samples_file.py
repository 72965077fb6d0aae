"""JSON Lines of samples: written so that a stopped run loses only what was unfinished, read back to go on with it."""

import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding.composed import Prompt
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.request import Request, Sample
from lmalgebra.errors import LmalgebraError

Finished = Counter[str]
"""How many samples of each prompt and seed are there; a prompt may occur twice."""

_START = b'{"prompt": '


def sample_line(prompt: Prompt, sample: Sample) -> str:
    """One sample as a line of JSON, without the line's end."""
    return json.dumps(
        {
            "prompt": prompt,
            "text": sample.text,
            "tokens": sample.tokens,
            "logprobs": sample.logprobs,
            "finish_reason": sample.finish_reason,
            "seed": sample.seed,
        },
        ensure_ascii=False,
    )


class SamplesFile:
    """A file that gets one line for each finished sample, each in one write, so that a stop never splits a line.

    Raises LmalgebraError for a file that cannot be written, or that already holds something unless `resume`.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.finished: Finished = Counter()
        try:
            if path.exists() and path.stat().st_size > 0:
                self._take_over(resume)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise LmalgebraError(
                f"The output '{path}' cannot be written: {error.strerror}.", "Name a file in a folder you can write to."
            ) from None
        self._written = array("Q")
        """The length of each new line."""

    @property
    def count(self) -> int:
        """How many samples the file holds."""
        return self.finished.total() + len(self._written)

    def add(self, line: str) -> None:
        """Append one line."""
        # Written and noted by one call into C, so that Ctrl-C cannot come between.
        self._written.extend(map(self._file.write, [f"{line}\n".encode()]))

    def close(self) -> None:
        self._file.close()

    def _take_over(self, resume: bool) -> None:
        if not resume:
            raise LmalgebraError(
                f"The output '{self.path}' already holds something.",
                "Add --resume to go on with it, or name another file.",
            )
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        self.finished = Counter(self._key(number, line) for number, line in _numbered(content[:whole]))
        torn = content[whole:]
        if torn[: len(_START)] != _START[: len(torn)]:
            self._key(content.count(b"\n") + 1, b"")  # no sample's beginning: nothing to be cut off
        os.truncate(self.path, whole)

    def _key(self, number: int, line: bytes) -> str:
        try:
            sample = json.loads(line)
            return _key(sample["prompt"], sample["seed"])
        except (ValueError, TypeError, KeyError):
            raise LmalgebraError(
                f"{self.path}, line {number}: this is not a sample, so --resume cannot go on with the file.",
                "Remove the line, or name another file.",
            ) from None


def missing_requests(
    prompts: Iterable[Prompt], settings: GenerationSettings, finished: Finished, asked: list[Prompt]
) -> Iterator[Request]:
    """What is left to generate; each prompt is put into `asked`, at the index that its requests carry."""
    left = finished.copy()
    for prompt in prompts:
        asked.append(prompt)
        for part in missing_parts(prompt, settings, left):
            yield Request(len(asked) - 1, conversation(prompt), part)


def missing_parts(prompt: Prompt, settings: GenerationSettings, left: Finished) -> list[GenerationSettings]:
    """`settings` for the samples of a prompt that are not in `left`, from which those that are there are taken."""
    runs = _runs(_missing_seeds(prompt, settings, left))
    return [replace(settings, seed=first, samples=count) for first, count in runs]


def _missing_seeds(prompt: Prompt, settings: GenerationSettings, left: Finished) -> Iterator[int]:
    for seed in range(settings.seed, settings.seed + settings.samples):
        key = _key(prompt, seed)
        if left[key] > 0:
            left[key] -= 1
        else:
            yield seed


def _runs(seeds: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring seeds as (first, count): the samples of one request, which read their prompt once."""
    runs: list[tuple[int, int]] = []
    for seed in seeds:
        if runs and sum(runs[-1]) == seed:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((seed, 1))
    return runs


def _key(prompt: object, seed: int) -> str:
    return json.dumps([prompt, seed], sort_keys=True)


def _numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip())
