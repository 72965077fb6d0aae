"""When something other than the best known is tried: a timetable counted in cycles, without random numbers."""

from math import ceil

CYCLES = 3  # of one trial
SPACING = 96  # cycles between trials, once each option had its first
LONGEST_WAIT = 4096  # cycles
FAR = 1.25  # times the cost of the current option


class Trials:
    """Which of `count` options is tried out of turn in each cycle.

    Each option is tried for 3 cycles at the start, in their order. From then on trials of 3 cycles are 96 cycles apart,
    so at most 3 of any 96 cycles (3.1 %) go to trying. After a trial an option waits 96 cycles, or, where it was more
    than 1.25 times as costly as the current one, twice as long as the last time and at least 96 times that factor, up
    to 4,096 cycles.
    """

    def __init__(self, count: int) -> None:
        self._cycle = 0
        self._untried = list(range(count))
        self._due, self._waits = [0] * count, [0.0] * count
        self._quiet_until = 0
        self._running, self._left = None, 0

    def advance(self) -> int | None:
        """Begin the next cycle. The option whose trial ended with the last one, if one did: it must be judged."""
        self._cycle += 1
        ended = self._running if self._left == 0 else None
        if ended is not None:
            self._running = None
        return ended

    def judge(self, option: int, cost: float) -> None:
        """Set when an option is tried next; `cost` is a multiple of the current option's."""
        wait = max(2 * self._waits[option], SPACING * cost) if cost > FAR else SPACING
        self._waits[option] = min(wait, LONGEST_WAIT)
        self._due[option] = self._cycle + ceil(self._waits[option])
        self._quiet_until = self._cycle + SPACING

    def option(self, current: int | None) -> tuple[int, bool] | None:
        """The option to try in this cycle, and whether its trial begins; None when `current` goes on."""
        begins = self._running is None
        if begins:
            self._running = self._next(current)
            self._left = CYCLES
        if self._running is None:
            return None
        self._left -= 1
        return self._running, begins

    def _next(self, current: int | None) -> int | None:
        if self._untried:
            return self._untried.pop(0)
        if self._cycle < self._quiet_until:
            return None
        due = [option for option, cycle in enumerate(self._due) if cycle <= self._cycle and option != current]
        return min(due, key=lambda option: self._due[option], default=None)
