"""`lmalgebra compare`: what can be concluded of how voices differ."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.errors import EvaluationError

if TYPE_CHECKING:
    from lmalgebra.evaluation.reports.compare import Comparison

Results = Annotated[
    list[Path], typer.Argument(metavar="RESULT.json", help="Results of lmalgebra evaluate.", show_default=False)
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The voice that others are compared with. Default: the first.", show_default=False
    ),
]


def compare(
    results: Results,
    baseline: Baseline = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Look only at quantities called so, such as 'expected maximum'; may be given several times. "
            "Default: all.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        float, typer.Option(metavar="SHARE", help="How sure conclusions and intervals are, from 0.5 to 0.999.")
    ] = 0.95,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say in words how voices of one or several results differ, and what cannot be concluded.

    Voices are compared on the prompts that both answered, by the paired bootstrap.
    Probabilities are corrected for all differences that are looked at (Holm).
    """
    from lmalgebra.evaluation.reports.compare import compare as compared
    from lmalgebra.evaluation.reports.compare import keys_called
    from lmalgebra.evaluation.reports.outcomes import first_is, read_outcomes

    if not 0.5 <= level <= 0.999:
        raise EvaluationError(f"--level {level:g} is out of range.", "Give a share from 0.5 to 0.999.")
    outcomes = first_is(baseline, read_outcomes(results))
    if len(outcomes) < 2:
        raise EvaluationError(
            f"There is nothing to compare '{outcomes[0].name}' with.", "Name a result of another voice as well."
        )
    found = compared(outcomes, level, keys_called(quantity, outcomes) if quantity else None)
    if not found.compared:
        raise _nothing(found)
    if json:
        print(json_format.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        _show(found)


def _nothing(found: "Comparison") -> EvaluationError:
    from lmalgebra.evaluation.reports.conclusions import refusal

    reasons = " ".join(map(refusal, found.not_compared)) or "The results hold no quantities."
    return EvaluationError(reasons, "Evaluate the voices on the same prompts, with the same settings and judges.")


def _show(found: "Comparison") -> None:
    from lmalgebra.evaluation.reports.blocks import markdown_block
    from lmalgebra.evaluation.reports.conclusions import differences_table, how_sure, refusal, sentence

    print(markdown_block(differences_table(found)))
    for paragraph in (
        [sentence(one) for one in found.compared],
        [refusal(one) for one in found.not_compared],
        [f"Note: {note}" for note in found.notes],
        [how_sure(found)],
    ):
        if paragraph:
            print("", *paragraph, sep="\n")
