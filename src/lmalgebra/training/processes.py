"""One training in several processes, as torchrun or Accelerate's launcher starts them: each does a share of the work.

All models are whole in each process. What the shares found is gathered, so that every process knows all of it, takes
the same decisions and reaches the same parameters; only the first one writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.models.loading import choose_device

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.state import PartialState

T = TypeVar("T")
S = TypeVar("S")

PATIENCE = timedelta(days=1)
"""How long a process waits for another, which may fetch a model or ask a server; a launcher ends all when one fails."""

SHARDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""What Accelerate's launcher may be asked for, by the variable that says so."""


@dataclass(frozen=True)
class Processes:
    """`count` processes of one training, of which this is number `index`, from 0 on; by default it is alone.

    All of them call the same methods in the same order.
    """

    count: int = 1
    index: int = 0

    @classmethod
    def launched(cls, device: str) -> Processes:
        """Those that a launcher has started for a training on `device`, joined; each GPU is then its process's own.

        Raises TrainingError for a launch that cannot be, ModelError for a device that is not there.
        """
        from accelerate.state import AcceleratorState, PartialState

        count = int(os.environ.get("WORLD_SIZE", "1"))
        place = choose_device(device)
        _require_whole()
        if count > 1:
            _require_places(count, device, torch.device(place))
        AcceleratorState._reset_state(reset_partial_state=True)  # as Transformers' Trainer does: each run is its own
        state = PartialState(cpu=place == "cpu", timeout=PATIENCE)
        atexit.register(part)  # or else threads that still run may abort Python at its end
        return cls.of(state)

    @classmethod
    def of(cls, state: Accelerator | PartialState) -> Processes:
        """Those that Accelerate knows of."""
        return cls(state.num_processes, state.process_index)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def share(self, count: int) -> slice:
        """Which of `count` things, in their order, are this process's; shares differ by one at most."""
        return slice(count * self.index // self.count, count * (self.index + 1) // self.count)

    def mine(self, things: Sequence[T]) -> Sequence[T]:
        """This process's share of them."""
        return things[self.share(len(things))]

    def shared(self, work: Callable[[], T], told: Callable[[T], S]) -> tuple[T, list[S]]:
        """What `work` gives here, and what is `told` of it in each process, which goes through pickle.

        Raises in every process the first error that any of them met, so that none waits for ever. An error that is no
        LmalgebraError is itself in its own process, and a RuntimeError with its text in the others.
        """
        if self.count == 1:
            own = work()
            return own, [told(own)]
        from accelerate.utils import gather_object

        found: list[T] = []
        try:
            found.append(work())
            mine: tuple[S | None, Exception | None] = told(found[0]), None
        except LmalgebraError as error:
            mine = None, error
        except Exception as error:
            gather_object([(None, RuntimeError(f"Process {self.index}: {type(error).__name__}: {error}"))])
            raise
        outcomes = gather_object([mine])
        for _, error in outcomes:
            if error is not None:
                raise error
        return found[0], [value for value, _ in outcomes]

    def gathered(self, work: Callable[[], T]) -> list[T]:
        """What `work` gives in each process, in their order. Raises as `shared` does."""
        return self.shared(work, lambda own: own)[1]

    def joined(self, work: Callable[[], Tensor]) -> Tensor:
        """What `work` gives in each process, `[..., share]`, one after another, `[..., all]`, on this one's device.
        Raises as `shared` does."""
        if self.count == 1:
            return work()
        own, parts = self.shared(work, lambda tensor: tensor.cpu())  # another's GPU is not this process's
        return torch.cat(parts, -1).to(own.device)

    def first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, which alone does it. Raises as `shared` does."""
        return self.gathered(lambda: work() if self.is_first else None)[0]  # type: ignore[return-value]

    def first_then_others(self, work: Callable[[], T]) -> T:
        """What `work` gives here. The others begin when the first one is done, and find what it has fetched. Raises as
        `shared` does."""
        if self.count == 1:
            return work()
        found: list[T] = []
        for is_turn in (self.is_first, not self.is_first):
            self.gathered(lambda mine=is_turn: found.append(work()) if mine else None)
        return found[0]


ALONE = Processes()
"""A training in one process."""


def part() -> None:
    """End what joins the processes, if anything does; they cannot be joined again."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def flat(parts: Sequence[Sequence[T]]) -> list[T]:
    """What all parts hold, one after another."""
    return [each for part in parts for each in part]


def _require_whole() -> None:
    """Raise TrainingError where the launcher was asked to divide parameters."""
    for variable, name in SHARDING.items():
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise TrainingError(
                f"{name} was asked for, but parameters are not divided here: each process holds all of them.",
                "Launch without it (accelerate launch --multi_gpu), and where memory is short use kind = 'lora', "
                "precision = 'bfloat16' or gradient_checkpointing.",
            )


def _require_places(count: int, device: str, place: torch.device) -> None:
    """Raise TrainingError where several processes do not each find a place of their own."""
    if place.index is not None:
        raise TrainingError(
            f"{count} processes were launched, and device = '{device}' is one place.",
            f"Say '{place.type}', so that each process takes one of its own.",
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if place.type == "cuda" and here > torch.cuda.device_count():
        raise TrainingError(
            f"{here} processes were launched, and there are {torch.cuda.device_count()} GPUs.",
            "Launch one for each GPU, or set device = 'cpu'.",
        )
