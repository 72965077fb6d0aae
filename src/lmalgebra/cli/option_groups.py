"""Options that verbs share, in groups: a verb takes a group as one value, and Typer sees each of its options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from lmalgebra.cli import options
from lmalgebra.cli.options import given


@dataclass(frozen=True)
class VoiceOptions:
    """Which voice speaks, by which formula."""

    file: options.VoiceFile = None
    formula: options.FormulaText = None
    model: options.ModelSource = None


@dataclass(frozen=True)
class SamplingOptions:
    """How texts are drawn."""

    max_new_tokens: options.MaxNewTokens = None
    min_new_tokens: options.MinNewTokens = None
    temperature: options.Temperature = None
    top_p: options.TopP = None
    top_k: options.TopK = None
    min_p: options.MinP = None
    repetition_penalty: options.RepetitionPenalty = None
    stop: options.Stop = None
    seed: options.Seed = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that the user gave."""
        return given(**vars(self))


@dataclass(frozen=True)
class PlaceOptions:
    """What models compute in, and where."""

    dtype: options.Dtype = None
    device: options.Device = None
    engine: options.Engine = None
    quantization: options.Quantization = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that the user gave."""
        return given(**vars(self))


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb`, whose parameters are named only, as Typer is to see it: with the options of a group in the place of each
    parameter that takes one."""
    kinds = get_type_hints(verb, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}

    @functools.wraps(verb)
    def flat(**values: Any) -> None:
        made = {
            name: kind(**{each.name: values.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        verb(**values, **made)

    found: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name in groups:
            found += _options(groups[parameter.name])
        else:
            found.append(parameter.replace(annotation=kinds[parameter.name]))
    flat.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    flat.__annotations__ = {each.name: each.annotation for each in found} | {"return": None}
    return flat


def _options(group: Any) -> list[inspect.Parameter]:
    kinds, place = get_type_hints(group, include_extras=True), inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, place, default=each.default, annotation=kinds[each.name]) for each in fields(group)
    ]
