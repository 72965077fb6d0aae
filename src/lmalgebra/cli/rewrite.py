"""`lmalgebra rewrite`: let a voice rewrite what other models have said."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli import options
from lmalgebra.cli.console import INTERRUPTED, say
from lmalgebra.cli.option_groups import PlaceOptions, VoiceOptions, grouped
from lmalgebra.cli.options import given, option
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.results import progress_bar
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice, say_afterwards
from lmalgebra.errors import EvaluationError, LmalgebraError, PromptError
from lmalgebra.json_lines import LinesFile, file_lines, parsed

if TYPE_CHECKING:
    from lmalgebra.decoding import ComposedVoice
    from lmalgebra.judges import Judge
    from lmalgebra.rewriting.rewrite import Rewriter, RewriteSettings

_WHAT, _WHICH, _OUT = "Answers", "Which are rewritten", "Output"
_HINT = 'A line is a JSON text, or an object with the answer in the field of --field: {"text": "..."}.'


@grouped
def rewrite(
    *,
    voice: Annotated[Path, typer.Argument(metavar="VOICE.toml", help="The voice that rewrites.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", show_default=False, help="Answers to rewrite.")
    ] = None,
    input: Annotated[
        str | None,
        option(_WHAT, "--input", text="JSON Lines in place of texts; - reads standard input.", metavar="FILE.jsonl"),
    ] = None,
    field: Annotated[
        str, option(_WHAT, "--field", text="Field of the answer. Default: text.", metavar="FIELD")
    ] = "text",
    template: Annotated[
        str | None,
        option(
            _WHAT,
            "--template",
            text="What the voice is asked: Jinja over `text`, `prompt` and the line's other fields.",
            metavar="TEXT",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        option(_WHICH, "--judge", text="Scores what is unwanted, written as for evaluate.", metavar="JUDGE"),
    ] = None,
    judge_template: Annotated[
        str | None,
        option(_WHICH, "--judge-template", text="What a language model is asked as judge.", metavar="TEXT"),
    ] = None,
    judge_scale: Annotated[
        float | None, option(_WHICH, "--judge-scale", text="The most it may answer. Default: 10.", metavar="NUMBER")
    ] = None,
    judge_key_env: Annotated[
        str | None,
        option(_WHICH, "--judge-key-env", text="Environment variable with its server's key.", metavar="NAME"),
    ] = None,
    above: Annotated[
        float | None,
        option(_WHICH, "--above", text="Rewrite only what it scores at least so. Default: 0, all.", metavar="SCORE"),
    ] = None,
    better: Annotated[
        bool | None, option(_WHICH, "--better", text="Keep an answer whose rewrite it scores no lower.")
    ] = None,
    embedder: Annotated[
        str | None,
        option(
            _WHICH,
            "--embedder",
            text="Encoder that judges meaning. Default, with --similarity: sentence-transformers/all-MiniLM-L6-v2.",
            metavar="NAME",
        ),
    ] = None,
    similarity: Annotated[
        float | None,
        option(_WHICH, "--similarity", text="Keep an answer whose rewrite is less similar.", metavar="COSINE"),
    ] = None,
    output: Annotated[
        Path | None, option(_OUT, "--output", text="Write here, in place of standard output.", metavar="FILE.jsonl")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Rewrite only what --output does not hold yet.", rich_help_panel=_OUT)
    ] = False,
    formula: options.FormulaText = None,
    model: options.ModelSource = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    samples: Annotated[
        int | None,
        option("Sampling", "--samples", text="Tries for each answer; the best is taken. Default: 1.", metavar="TEXTS"),
    ] = None,
    places: PlaceOptions,
    batch: options.Batch = None,
) -> None:
    """Let a voice rewrite the answers of any model, and print each before and after, as JSON Lines.

    An answer stays as it is, and the line says why, where its judge finds nothing, or a rewrite is refused.
    """
    if resume and output is None:
        raise LmalgebraError("--resume needs a file to go on with.", "Add --output FILE.")
    chosen = chosen_voice(VoiceOptions(voice, formula, model), RecipeChoice(), places)
    answers = _answers(texts, input)
    from lmalgebra.rewriting.rewrite import RewriteSettings

    asked = given(template=template, above=above, better=better, similarity=similarity)
    sampling = given(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, samples=samples)
    composed = open_voice(chosen, model_registry(), batch)
    question = given(template=judge_template, scale=judge_scale, key_env=judge_key_env)
    rewriter = _rewriter(composed, sampling, RewriteSettings(**asked), _judge(judge, question), embedder)
    file = None if output is None else LinesFile(output, "rewritten answers", resume, LmalgebraError)
    try:
        count = _write(rewriter, answers, field, file)
    except (KeyboardInterrupt, LmalgebraError) as stop:
        say("Stopped." if file is None else f"Stopped; {file.path} keeps what is done. --resume goes on.")
        if isinstance(stop, LmalgebraError):
            raise
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if file is not None:
            file.close()
    if not count:
        raise PromptError("There is no answer to rewrite.", _HINT)
    say_afterwards(composed)


def _judge(written: str | None, question: Mapping[str, Any]) -> "Judge | None":
    if written is None:
        if question:
            raise EvaluationError("There is no judge to be asked.", "Add --judge http://HOST/v1#MODEL.")
        return None
    from lmalgebra.judges import Question, judge_of

    return judge_of(written, Question(**question))


def _rewriter(
    composed: "ComposedVoice",
    sampling: Mapping[str, Any],
    settings: "RewriteSettings",
    judge: "Judge | None",
    embedder: str | None,
) -> "Rewriter":
    from lmalgebra.api import rewriter_of

    return rewriter_of(composed, settings, judge=judge, embedder=embedder, report=say, **sampling)


def _write(rewriter: "Rewriter", answers: Iterable[Any], field: str, file: LinesFile | None) -> int:
    """Rewrite what is not in the file yet, line by line; how many answers there are in all."""
    answers = iter(answers)
    known = 0 if file is None else _known(file, answers, field)
    count = changed = 0
    with progress_bar(None, file is not None) as advance:
        for each in rewriter(answers, field, known):
            line = each.line(field)
            if file is None:
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                file.add([line])
            count, changed = count + 1, changed + (not each.kept)
            advance()
    if known + count:
        say(f"Rewrote {changed:,} of {count:,} answers{f'; {known:,} were done' if known else ''}.")
    return known + count


def _known(file: LinesFile, answers: Iterator[Any], field: str) -> int:
    """How many answers the file holds; they are taken from `answers`. Raises LmalgebraError where they are others."""
    known = list(file.values())
    for number, (line, answer) in enumerate(zip(known, islice(answers, len(known)), strict=False), 1):
        text = answer if isinstance(answer, str) else answer.get(field)
        if not isinstance(line, dict) or line.get("before") != text:
            raise LmalgebraError(
                f"{file.path}, line {number}: this is no rewrite of answer {number}, so --resume cannot go on.",
                "Give the same answers, or name another output.",
            )
    return len(known)


def _answers(texts: list[str] | None, input: str | None) -> Iterable[Any]:
    """The answers that are given: texts, or a file's objects. Raises PromptError for none and for both."""
    if bool(texts) == (input is not None):
        what = "Both texts and --input were given." if texts else "There is no answer to rewrite."
        raise PromptError(what, "Give texts, or --input FILE.jsonl.")
    if texts and texts != ["-"]:
        return texts
    if texts or input == "-":
        return _checked(iter(sys.stdin.buffer.readline, b""), "standard input")
    return list(_checked(file_lines(str(input), "answers", PromptError), str(input)))


def _checked(lines: Iterable[bytes], origin: str) -> Iterator[Any]:
    for place, value in parsed(lines, origin, PromptError, _HINT):
        if not isinstance(value, str | dict):
            raise PromptError(f"{place}: this is neither a text nor an object.", _HINT)
        yield value
