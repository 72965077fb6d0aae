"""The routes, and what every answer has in common."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from lmalgebra.decoding.explanation import Explanation
from lmalgebra.errors import FormulaError, LmalgebraError
from lmalgebra.serving import describe
from lmalgebra.serving.answers import Answer
from lmalgebra.serving.chat import ChatAnswer
from lmalgebra.serving.check import checked
from lmalgebra.serving.completions import CompletionAnswer
from lmalgebra.serving.engine import Run, Told
from lmalgebra.serving.errors import ApiError, ClientLeft, as_api_error, failure, not_allowed
from lmalgebra.serving.limits import read_json, unless_left
from lmalgebra.serving.measure import measured
from lmalgebra.serving.openapi import METRICS_TYPE, described, gives, health, metrics, takes
from lmalgebra.serving.pages import Playground
from lmalgebra.serving.prepare import prepare, prepare_measure
from lmalgebra.serving.rewrite import rewritten
from lmalgebra.serving.schema import (
    ChatRequest,
    CompletionRequest,
    Drawing,
    FormulaRequest,
    MeasureRequest,
    RewriteRequest,
    Sampling,
    ScoreRequest,
    parse,
)
from lmalgebra.serving.score import scored
from lmalgebra.serving.server import Server
from lmalgebra.serving.stream import EventStream, chunks
from lmalgebra.serving.voices import ServedVoice
from lmalgebra.serving.watch import CLIENT_LEFT, OPEN, Call, Watch

log = logging.getLogger("lmalgebra.serving")


def create_app(server: Server, failed: Callable[[], None] = lambda: None) -> Watch:
    """The application of `server`, which loads when it starts; `failed` is called when it cannot."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        server.start(failed)
        yield
        await server.stop()

    app = FastAPI(title="lmalgebra", lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False, debug=False)
    if server.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(server.settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    _Routes(server).add_to(app)
    open_paths = frozenset(OPEN)
    if server.settings.playground:
        playground = Playground()
        playground.add_to(app)
        open_paths |= playground.paths
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    return Watch(app, server.keys, server.metrics, server.settings.is_local and not server.keys, open_paths)


class _Routes:
    """What each route answers."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._settings = server.settings

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how errors are told."""
        posts = (
            ("/v1/chat/completions", self.chat, ChatRequest, "ChatAnswer"),
            ("/v1/completions", self.complete, CompletionRequest, "CompletionAnswer"),
            ("/v1/score", self.score, ScoreRequest, "ScoreAnswer"),
            ("/v1/rewrite", self.rewrite, RewriteRequest, "RewriteAnswer"),
            ("/v1/measure", self.measure, MeasureRequest, "MeasureAnswer"),
            ("/v1/formula", self.formula, FormulaRequest, "FormulaAnswer"),
        )
        for path, work, kind, answer in posts:
            app.post(path, openapi_extra=takes(kind, answer), response_model=None)(work)
        refusals = (401, 403, 404, 503)
        app.get("/v1/models", openapi_extra=gives("Models", 401, 403), response_model=None)(self.models)
        app.get("/v1/models/{name:path}", openapi_extra=gives("Model", *refusals), response_model=None)(self.model)
        app.get("/v1/functions", openapi_extra=gives("Functions", 401, 403), response_model=None)(self.functions)
        app.get("/v1/recipes", openapi_extra=gives("Recipes", 401, 403), response_model=None)(self.recipes)
        app.get("/health", openapi_extra=health(503), response_model=None)(self.health)
        app.get("/ready", openapi_extra=health(503), response_model=None)(self.ready)
        app.get("/metrics", openapi_extra=metrics(), response_class=Response, response_model=None)(self.metrics)
        for kind_of_error in (ApiError, LmalgebraError, ClientLeft, HTTPException, Exception):
            app.add_exception_handler(kind_of_error, self.refuse)

    async def chat(self, request: Request) -> Response:
        """What a voice says in a conversation."""
        return await self._speak(request, ChatRequest, ChatAnswer)

    async def complete(self, request: Request) -> Response:
        """What a voice says after a prompt, or after each of several."""
        return await self._speak(request, CompletionRequest, CompletionAnswer)

    async def score(self, request: Request) -> Response:
        """How likely texts are under a voice's formula."""
        call = _call(request)
        asked = parse(ScoreRequest, await read_json(request, self._settings))
        served = self._named(call, asked.model)
        if "score" not in self._settings.allow:
            raise not_allowed("Scores are the operator's choice here.", "model")

        async def work() -> dict[str, Any]:
            prepared = await self._server.engine.read(lambda: prepare(asked, served, self._settings))
            return await scored(self._server.engine, prepared, asked.continuations)

        async with self._server.engine.place():
            return JSONResponse(await self._unless_left(request, work()))

    async def rewrite(self, request: Request) -> Response:
        """What any model has said, said again by a voice."""
        call = _call(request)
        asked = parse(RewriteRequest, await read_json(request, self._settings))
        served = self._named(call, asked.model)
        _tell_user(call, asked)
        async with self._server.engine.place():
            work = rewritten(self._server.engine, self._server.rewriters, asked, served, partial(self._note, call))
            return JSONResponse(await self._unless_left(request, work))

    async def measure(self, request: Request) -> Response:
        """What the operator's judges say of texts, and their perplexity."""
        call = _call(request)
        asked = parse(MeasureRequest, await read_json(request, self._settings))
        served = self._named(call, asked.model)
        if "measure" not in self._settings.allow:
            raise not_allowed("Measures are the operator's choice here.", "model")
        by = self._settings.perplexity_by
        speaker = self._server.voice(by).composed if by else None

        async def work() -> dict[str, Any]:
            prepared = await self._server.engine.read(lambda: prepare_measure(asked, served, speaker, self._settings))
            return await measured(self._server.engine, self._server.judges, prepared, asked.continuations)

        async with self._server.engine.place():
            return JSONResponse(await self._unless_left(request, work()))

    async def formula(self, request: Request) -> Response:
        """Whether a formula can be used, and what it is made of."""
        call = _call(request)
        asked = parse(FormulaRequest, await read_json(request, self._settings))
        served = self._named(call, asked.model)
        async with self._server.engine.place():
            return JSONResponse(await self._server.engine.read(lambda: checked(asked, served, self._settings)))

    async def _speak(self, request: Request, kind: type[Sampling], answers: type[Answer]) -> Response:
        call = _call(request)
        asked = parse(kind, await read_json(request, self._settings))
        served = self._named(call, asked.model)
        _tell_user(call, asked)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._server.engine.place())
            run = await self._unless_left(request, self._begin(asked, served))
            stack.callback(self._note, call, run)
            stack.enter_context(self._server.engine.running(run))
            answer, told = answers(asked, run), self._told(call, run)
            if not asked.stream:
                return JSONResponse(await self._unless_left(request, self._whole(answer, told)))
            first = await self._unless_left(request, _next(told))
            events = chunks(answer, _chained(first, told), self._explanations, self._as_api_error)
            return EventStream(events, stack.pop_all().aclose)

    async def _begin(self, asked: Sampling, served: ServedVoice) -> Run:
        prepared = await self._server.engine.read(lambda: prepare(asked, served, self._settings))
        return await self._server.engine.run(prepared)

    async def _whole(self, answer: Answer, told: AsyncIterator[Told]) -> dict[str, Any]:
        async for _ in told:
            pass
        return answer.content(await self._explanations(answer))

    async def _explanations(self, answer: Answer) -> dict[int, Explanation]:
        """What moved each token of an answer that is told, where that was asked for."""
        return await self._server.engine.explain(answer.run) if answer.asked.explain else {}

    async def _told(self, call: Call, run: Run) -> AsyncIterator[Told]:
        """What a run says; notes when it begins."""
        is_first = True
        async for each in run.told():
            if is_first:
                self._server.metrics.first_text(call.voice, call.seconds)
                is_first = False
            yield each

    def _note(self, call: Call, run: Run) -> None:
        """A run is told to its end, or given up."""
        tokens = run.tokens.total()
        self._server.metrics.spoke(run, tokens)
        call.left = call.left or len(run.samples) < run.wanted
        call.told |= {"prompt_tokens": sum(run.prompt_tokens), "completion_tokens": tokens, "texts": len(run.samples)}
        if self._settings.log_prompts:
            prepared, said = run.prepared, [sample.text for _, sample in run.in_order]
            call.told |= {"prompts": prepared.prompts, "formula": str(prepared.speaker.formula), "said": said}

    def _named(self, call: Call, name: str) -> ServedVoice:
        served = self._server.voice(name)
        call.voice = served.name
        return served

    async def _unless_left(self, request: Request, work: Coroutine[Any, Any, Any]) -> Any:
        return await unless_left(request, work, self._settings.request_seconds)

    async def models(self, request: Request) -> Response:
        """The voices."""
        _call(request)
        return JSONResponse(describe.models(self._server.voices.all, self._server.judges.names, self._settings))

    async def model(self, request: Request, name: str) -> Response:
        """One voice."""
        call = _call(request, "/v1/models/{name}")
        return JSONResponse(describe.model(self._named(call, name), self._settings))

    async def functions(self, request: Request) -> Response:
        """The functions that formulas are written with."""
        _call(request)
        return JSONResponse(describe.functions())

    async def recipes(self, request: Request) -> Response:
        """Published methods as formulas."""
        _call(request)
        return JSONResponse(describe.recipes())

    async def health(self, request: Request) -> Response:
        """Whether the process works."""
        _call(request)
        alive = self._server.engine.service.is_alive
        return JSONResponse({"status": "ok" if alive else "dead"}, 200 if alive else 503)

    async def ready(self, request: Request) -> Response:
        """Whether requests are answered."""
        _call(request)
        ready = self._server.is_ready and not self._server.engine.is_closing
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Numbers for Prometheus."""
        _call(request)
        return Response(self._server.metrics.text(), media_type=METRICS_TYPE)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """What a client is told of an error."""
        if isinstance(error, ClientLeft):
            _call(request).left = True
            return Response(status_code=CLIENT_LEFT)
        if isinstance(error, HTTPException):
            error = ApiError(error.status_code, f"{error.detail}.", "not_found", headers=error.headers)
        told = self._as_api_error(error)
        return JSONResponse(told.body, told.status, told.headers)

    def _as_api_error(self, error: Exception) -> ApiError:
        param = "formula" if isinstance(error, FormulaError) else None
        told = as_api_error(error, self._server.engine.retry_seconds, param)
        if told.status in (500, 503) and not isinstance(error, ApiError):
            log.error("failure", exc_info=error)
        return told if told.status != 500 else failure()


def _call(request: Request, route: str | None = None) -> Call:
    """What is noted of a request, whose route is now known."""
    call: Call = request.state.call
    call.route = route or request.url.path
    return call


def _tell_user(call: Call, asked: Drawing) -> None:
    for key in ("user", "safety_identifier"):
        if (value := getattr(asked, key)) is not None:
            call.told[key] = value


async def _next(told: AsyncIterator[Told]) -> Told:
    return await anext(told)


async def _chained(first: Told, rest: AsyncIterator[Told]) -> AsyncIterator[Told]:
    yield first
    async for each in rest:
        yield each
