"""The engine without HTTP: what it does for those who leave while it begins."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

import lmalgebra as la
from lmalgebra.serving.engine import Engine
from lmalgebra.serving.prepare import Prepared
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice

TOKENS = 4


@pytest.fixture
def prepared() -> Prepared:
    voice = la.voice(la.model("toy").term(name="base"), max_new_tokens=TOKENS)
    assert voice.loaded
    return Prepared(ServedVoice("toy", voice, {}, 0), voice, ("a", "b", "c"), voice.settings)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(ServerSettings(voices=("unused",)))
    yield engine
    engine.close(finish=True)


def test_the_prompts_are_counted_and_answered(engine: Engine, prepared: Prepared) -> None:
    async def ask() -> tuple[int, int]:
        run = await engine.run(prepared)
        with engine.running(run):
            async for _ in run.told():
                pass
        return len(run.prompt_tokens), len(run.in_order)

    assert asyncio.run(ask()) == (3, 3)


def test_who_leaves_while_the_prompts_are_read_is_not_answered(engine: Engine, prepared: Prepared) -> None:
    submitted, leaves, has_left = [], threading.Event(), threading.Event()
    submit = engine.service.submit

    def slowly(*arguments: object, **settings: object) -> object:
        leaves.set()
        assert has_left.wait(60)
        submitted.append(submit(*arguments, **settings))  # type: ignore[arg-type]
        return submitted[-1]

    engine.service.submit = slowly  # type: ignore[method-assign, assignment]

    async def ask_and_leave() -> None:
        asking = asyncio.create_task(engine.run(prepared))
        await asyncio.to_thread(leaves.wait, 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        has_left.set()

    asyncio.run(ask_and_leave())
    deadline = time.monotonic() + 60
    while not (len(submitted) == 3 and all(ticket.done for ticket in submitted)):
        assert time.monotonic() < deadline, submitted
        time.sleep(0.01)
    for ticket in submitted:
        with pytest.raises(la.errors.DecodingError, match="cancelled"):
            ticket.result(timeout=60)


def test_all_that_is_said_arrives_in_order_though_the_loop_is_woken_once(engine: Engine, prepared: Prepared) -> None:
    async def ask() -> list[list[int]]:
        runs = [await engine.run(prepared) for _ in range(4)]
        await asyncio.to_thread(time.sleep, 0.2)  # until much has come
        found = []
        for run in runs:
            tokens = []
            with engine.running(run):
                async for told in run.told():
                    if told.place == 1 and not hasattr(told.event, "finish_reason"):
                        tokens.extend(told.event.tokens)
                assert tokens == [*run.samples[1, 0].tokens][: len(tokens)]
            found.append(tokens)
        return found

    first, *others = asyncio.run(ask())
    assert len(first) == TOKENS
    assert all(other == first for other in others)
