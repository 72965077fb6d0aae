"""`lmalgebra report`: results as tables, plots and sentences, in Markdown and as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.compare import Baseline, Results
from lmalgebra.cli.console import say
from lmalgebra.cli.report_page import page
from lmalgebra.errors import EvaluationError

if TYPE_CHECKING:
    from lmalgebra.evaluation.reports.report import Report


def report(
    results: Results,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where report.md, report.html and the plots go.")
    ] = Path("report"),
    baseline: Baseline = None,
) -> None:
    """Write a report of one or several results: tables, plots, what can be concluded, and how to get the same again.

    report.html needs no other file and fetches nothing; report.md shows the plots that stand beside it as PNG.
    Plots need the extra 'plots'.
    """
    from lmalgebra.evaluation.reports.outcomes import first_is, read_outcomes
    from lmalgebra.evaluation.reports.report import report as report_of

    found = report_of(first_is(baseline, read_outcomes(results)))
    _write(found, output)
    say(f"Wrote {output / 'report.html'}, {output / 'report.md'} and {len(found.drawn)} plots.")


def _write(report: "Report", folder: Path) -> None:
    from lmalgebra.evaluation.reports import plots
    from lmalgebra.evaluation.reports.blocks import markdown

    figures = {name: draw() for name, draw in report.drawn.items()}
    drawings = {name: plots.svg(figure, name) for name, figure in figures.items()}
    content = {f"{name}.png": plots.png(figure) for name, figure in figures.items()}
    content["report.md"] = markdown(report.title, report.sections).encode()
    content["report.html"] = page(report.title, report.sections, drawings).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, each in content.items():
            (folder / name).write_bytes(each)
    except OSError as error:
        raise EvaluationError(
            f"The report '{folder}' cannot be written: {(error.strerror or str(error)).lower()}.",
            "Name a folder that you can write to with --output.",
        ) from None
