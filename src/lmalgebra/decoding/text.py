"""A sample's text as it grows: whole characters, and nothing of a stop string."""

from collections.abc import Sequence

from lmalgebra.models.base import TextStream


class GrowingText:
    """Collects the text of tokens and says what may be shown.

    A stop string is found wherever it lies, across tokens too; the text ends before it. What could still become a
    stop string is held back.
    """

    def __init__(self, stream: TextStream, stop: Sequence[str]) -> None:
        self._stream = stream
        self._stop = stop
        self._held = ""
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that may be shown now that `token` has come, often empty."""
        return self._take(self._stream.push(token))

    def finish(self) -> str:
        """The rest, when no more tokens come."""
        if self.stopped:
            return ""
        shown = self._take(self._stream.finish())
        if self.stopped:
            return shown
        rest, self._held = self._held, ""
        self.text += rest
        return shown + rest

    def _take(self, new: str) -> str:
        self._held += new
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)], ""
        else:
            safe = len(self._held) - self._doubtful()
            shown, self._held = self._held[:safe], self._held[safe:]
        self.text += shown
        return shown

    def _doubtful(self) -> int:
        """How many of the held characters could be the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0
