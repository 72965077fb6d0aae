"""A server: its voices, its engine and its life, from loading to the last answer."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from lmalgebra.errors import ServingError
from lmalgebra.serving.apart import Judging, apart
from lmalgebra.serving.engine import Engine
from lmalgebra.serving.errors import ApiError, unavailable
from lmalgebra.serving.keys import Keys, load_keys
from lmalgebra.serving.measure import Judges
from lmalgebra.serving.metrics import Metrics
from lmalgebra.serving.rewrite import Rewriters
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import OpenVoice, ServedVoice, Voices

log = logging.getLogger("lmalgebra.serving")


class Server:
    """What the application's routes use. `open_voice` gives a voice its models.

    Raises LmalgebraError for settings, keys or voice files that cannot be used; nothing is loaded yet.
    """

    def __init__(self, settings: ServerSettings, open_voice: OpenVoice) -> None:
        self.settings = settings
        self.keys: Keys = load_keys(settings)
        self.voices = Voices(settings, open_voice)
        described = self.voices.described()
        if settings.perplexity_by and settings.perplexity_by not in described:
            raise ServingError(
                f"perplexity_by = '{settings.perplexity_by}' is no voice of this server.",
                f"It has {', '.join(described)}.",
            )
        judging = Judging()
        self.judges = Judges(settings.judges, judging)
        self.rewriters = Rewriters(settings, tuple(described), judging)
        self.engine = Engine(settings)
        self.metrics = Metrics(self.voices, self.engine)
        self.failure: Exception | None = None
        self.is_ready = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, failed: Callable[[], None]) -> None:
        """Load the voices beside the event loop; `failed` is called when one cannot be, and `failure` says why."""
        self._tasks.append(asyncio.create_task(self._load(failed)))

    async def _load(self, failed: Callable[[], None]) -> None:
        try:
            await apart(lambda: self.voices.load(self.engine.warm_up))
            await apart(self.rewriters.load)
            await apart(self.judges.load)
            await apart(_set_aside)
        except Exception as error:  # whatever it is, the server has nothing to serve
            self.failure = error
            failed()
            return
        self.is_ready = True
        log.info("ready", extra={"voices": [served.name for served in self.voices.all]})
        if self.settings.reload_seconds:
            self._tasks.append(asyncio.create_task(self._look()))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self.settings.reload_seconds)
            await self.reload()

    async def reload(self, everything: bool = False) -> None:
        """Open again the voices whose files have changed, or all; see Voices.reload."""
        if not self.is_ready:
            return
        changed = await apart(lambda: self.voices.reload(self.engine.warm_up, everything))
        if changed:
            await apart(_set_aside)
            self.metrics.reloads.inc(len(changed))
            log.info("reloaded", extra={"voices": changed})

    def reload_soon(self) -> None:
        """As `reload` of everything, from a signal's handler on the event loop."""
        self._tasks.append(asyncio.create_task(self.reload(everything=True)))

    def voice(self, name: str) -> ServedVoice:
        """The voice that a request names. Raises ApiError."""
        if not self.is_ready:
            raise unavailable("The voices are being loaded.")
        served = self.voices.get(name)
        if served is None:
            raise ApiError(404, f"The model '{name[:100]}' does not exist.", "model_not_found", "model")
        return served

    async def stop(self) -> None:
        """End, when no request is answered any more."""
        self.is_ready = False
        self.engine.is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.engine.close, False)


def _set_aside() -> None:
    """Let garbage be looked for only among what is made from now on: going through all that libraries and models are
    made of takes a quarter of a second, in which nobody speaks."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.collect()  # how soon it is looked for next goes by how much there was the last time
