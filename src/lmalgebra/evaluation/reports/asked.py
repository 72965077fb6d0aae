"""The part of a report that says what was asked and measured, and how to get the same again."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomli_w

from lmalgebra.evaluation.reports.blocks import Block, Code, Listing, Paragraph, Table
from lmalgebra.evaluation.reports.outcomes import Outcome
from lmalgebra.evaluation.reports.phrases import file_name, flattened, listed, shown
from lmalgebra.evaluation.settings import GENERATION, UTILITY

_LENGTH = 72
"""Characters of a line of a command."""


def what_was_asked(outcomes: Sequence[Outcome]) -> list[Block]:
    """Suite, prompts, settings, formulas and measures."""
    asked = [f"Suite {suite}, {prompts}." for suite, prompts in dict.fromkeys(map(_suite_and_prompts, outcomes))]
    settings: dict[str, list[str]] = {}
    for one in outcomes:
        settings.setdefault(_settings(one), []).append(one.name)
    said = [f"{listed(names)}: {each}." for each, names in settings.items()]
    measures: dict[str, None] = {}
    for one in outcomes:
        for name, about in one.result["measures"].items():
            told = ", ".join(f"{key} {shown(value)}" for key, value in flattened(about).items() if value != "")
            measures[f"{name}: {told}."] = None
    formulas = [[one.name, str(one.voice.get("formula") or one.voice.get("samples", ""))] for one in outcomes]
    return [Table(["voice", "formula, or file of samples"], formulas), Listing([*asked, *said, *measures])]


def _suite_and_prompts(one: Outcome) -> tuple[str, str]:
    prompts = one.result["prompts"]
    return one.result["suite"], f"{prompts['count']} prompts of {prompts['source']} (revision {prompts['revision']})"


def _settings(one: Outcome) -> str:
    settings = one.voice.get("settings")
    if settings is None:
        return "a file of samples, whose settings are not known"
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def reproduced(outcomes: Sequence[Outcome]) -> list[Block]:
    """The commands, the voice files they need, and the versions that were used."""
    blocks: list[Block] = []
    for result in _distinct(one.result for one in outcomes):
        voices = [one for one in outcomes if one.result is result]
        blocks += [Code(_command(result, voices))]
        used = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        blocks += [Paragraph(f"Used: {used}.")]
    files = [f"# {_file(one)}\n{_voice_file(one.voice)}" for one in outcomes if "voice" in one.voice]
    weights = {source: digest for one in outcomes for source, digest in one.voice.get("weights", {}).items()}
    if files:
        blocks += [Paragraph("The voice files:"), Code("\n".join(files).rstrip())]
    if weights:
        blocks += [Listing([f"Weights of {source}: {digest}." for source, digest in weights.items()])]
    return blocks


def _distinct(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({id(result): result for result in results}.values())


def _command(result: Mapping[str, Any], voices: Sequence[Outcome]) -> str:
    """The command of a result, over several lines."""
    parts = ["lmalgebra evaluate", *(shlex.quote(_file(one)) for one in voices)]
    if result["suite"] == UTILITY:
        return _folded([*parts, *_options({"suite": UTILITY} | result["options"])])
    prompts = result["prompts"]
    given = _options({"suite": result["suite"], "prompts": prompts["source"]})
    if prompts.get("draw") is not None:
        given += _options({"count": prompts["count"], "draw": prompts["draw"]})
    given += _options({"template": prompts["template"]} if prompts.get("template") else {})
    given += [f"--judge {shlex.quote(each)}" for each in _judges(result)]
    given += [f"--fluency {shlex.quote(_fluency(result))}"]
    settings: Mapping[str, Any] = next((one.voice["settings"] for one in voices if "settings" in one.voice), {})
    given += [f"--{name.replace('_', '-')} {settings[name]}" for name in GENERATION if name in settings]
    return _folded([*parts, *given])


def _options(values: Mapping[str, Any]) -> list[str]:
    return [f"--{name} {shlex.quote(str(value))}" for name, value in values.items()]


def _judges(result: Mapping[str, Any]) -> list[str]:
    found = []
    for measure, about in result["measures"].items():
        judge = about.get("judge")
        if judge:
            folder = f"./{measure.partition(' by ')[2]}"  # where one lies is not told, and changes nothing
            source, label = judge.get("source") or judge.get("name") or folder, judge.get("label")
            found.append(f"{source}#{label}" if label else source)
    return list(dict.fromkeys(found))


def _fluency(result: Mapping[str, Any]) -> str:
    judges = [about for about in result["measures"].values() if about.get("kind") == "perplexity"]
    return str(judges[0].get("source", judges[0]["name"])) if judges else "none"


def _folded(parts: Sequence[str]) -> str:
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) < _LENGTH:
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}")
    return " \\\n".join(lines)


def _file(one: Outcome) -> str:
    return str(one.voice["samples"]) if "samples" in one.voice else f"{file_name(one.name)}.toml"


def _voice_file(voice: Mapping[str, Any]) -> str:
    """The text of a voice file; what the command sets is left to it."""
    rest = {name: value for name, value in voice.get("settings", {}).items() if name not in GENERATION}
    return tomli_w.dumps(dict(voice["voice"]) | ({"generation": rest} if rest else {}))
