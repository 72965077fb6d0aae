"""The plots of a report, by Matplotlib (the extra `plots`): as PNG, and as SVG whose colours are those of a page."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from lmalgebra.errors import MissingExtraError
from lmalgebra.evaluation.reports.outcomes import Key, Outcome, curves_of
from lmalgebra.evaluation.reports.phrases import phrase, shown
from lmalgebra.evaluation.statistics import LEVEL, Numbers, Quantity, reach

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

INK, SOFT, LINE = "#1c1b19", "#625e57", "#dedad2"
COLOURS = ("#0a5fc4", "#b3420a", "#17734a", "#8a2fb8", "#a81c52", "#0b6b7a", "#7a5a00", "#4b5563")
"""As in the style of pages, where each has a name and another value for dark screens."""

_NAMES = {INK: "--ink", SOFT: "--soft", LINE: "--line"} | {
    colour: f"--term-{place}" for place, colour in enumerate(COLOURS)
}
MARKERS = "osD^vPX*"
WIDTH, HEIGHT = 5.2, 3.6
"""Inches of a plot, without its legend."""
FEWEST = 10
"""Prompts from which on the joint draws of two values have a form."""
LONGEST = 52
"""Characters of a name in a legend."""
CHARACTERS = 34
"""Of a line of a label; more would not fit beside a plot."""

_STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "lmalgebra",
}


def plane(outcomes: Sequence[Outcome], across: Key, upwards: Key) -> "Figure":
    """One quantity against another: a point for each voice, with the region that holds LEVEL of the joint draws.

    The voices of a curve are joined in the order of their weights.
    """
    shown_ones = [one for one in outcomes if across in one.quantities and upwards in one.quantities]
    lines = [(one.name, [one]) for one in shown_ones if one.curve is None] + list(curves_of(shown_ones).items())
    known: list[tuple[str, Line2D]] = []
    with _drawing(len(lines)) as (figure, axes):
        for place, (name, voices) in enumerate(lines):
            points = [(one.quantities[across], one.quantities[upwards]) for one in voices]
            for point in points:
                _show_region(axes, _colour(place), *point)
            values = np.array([[quantity.value for quantity in point] for point in points])
            known.append((name, _line(axes, place, values)))
        _label(axes.xaxis, across, shown_ones)
        _label(axes.yaxis, upwards, shown_ones)
        _legend(figure, known)
    return figure


def curves(lines: Mapping[str, Sequence[Outcome]], key: Key) -> "Figure":
    """A quantity against the weight of each curve's voices, with intervals."""
    known: list[tuple[str, Line2D]] = []
    with _drawing(len(lines)) as (figure, axes):
        for place, (name, voices) in enumerate(lines.items()):
            points = [(one.curve[1], one.quantities[key]) for one in voices if one.curve and key in one.quantities]
            weights = [weight for weight, _ in points]
            ends = np.array([quantity.interval() for _, quantity in points]).reshape(-1, 2)
            axes.fill_between(weights, ends[:, 0], ends[:, 1], color=_colour(place), alpha=0.15, linewidth=0)
            values = np.array([(weight, quantity.value) for weight, quantity in points]).reshape(-1, 2)
            known.append((name, _line(axes, place, values)))
        axes.set_xlabel("weight")
        _label(axes.yaxis, key, [one for voices in lines.values() for one in voices])
        _legend(figure, known)
    return figure


def bars(values: Mapping[str, float], label: str) -> "Figure":
    """A bar for each name."""
    with _drawing(0, height=0.9 + 0.34 * len(values)) as (figure, axes):
        names = [shown(name, LONGEST // 2) for name in values]
        places = range(len(values))
        axes.barh(places, list(values.values()), color=COLOURS[0], height=0.62)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
    return figure


def png(figure: "Figure") -> bytes:
    """A plot as PNG on white."""
    file = BytesIO()
    with _styled():
        figure.savefig(file, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def svg(figure: "Figure", name: str) -> str:
    """A plot as an SVG element of a page, of which `name` is unique there: in the page's colours, on its ground."""
    file = StringIO()
    with _styled():
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _NAMES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)


def ellipse(draws: Numbers, prompts: int, level: float = LEVEL) -> Numbers | None:
    """The edge of the ellipse that holds the share `level` of joint draws, `[draws, 2]`, as points; None where they
    lie on a line, or prompts are too few for its form.

    As wide in each direction as the draws' covariance says, and more where prompts are few, as intervals are; but no
    farther out than any draw, so that it keeps to values that there can be.
    """
    draws = draws[np.isfinite(draws).all(axis=1)]
    if prompts < FEWEST or len(draws) < FEWEST:
        return None
    centre = draws.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(draws.T))
    if values[0] <= 1e-12 * max(values[1], 1e-300):
        return None
    distances = np.sqrt((((draws - centre) @ axes) ** 2 / values).sum(axis=1))
    radius = np.quantile(distances, level) * reach(prompts, level) / reach(1 << 30, level)
    angles = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = centre + (circle * np.sqrt(values) * radius) @ axes.T
    edge: Numbers = np.clip(points, draws.min(axis=0), draws.max(axis=0))
    return edge


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _line(axes: "Axes", place: int, points: Numbers) -> "Line2D":
    """Points, `[points, 2]`, that are joined; each colour comes with every marker before both come again."""
    marker = MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
    joined = "-" if len(points) > 1 else ""
    return axes.plot(*points.T, f"{marker}{joined}", color=_colour(place), markersize=6, linewidth=1.2)[0]


def _show_region(axes: "Axes", colour: str, across: Quantity, upwards: Quantity) -> None:
    """The region of a point; a cross of both intervals where there is none."""
    region = _region(across, upwards)
    if region is None:
        axes.hlines(upwards.value, *across.interval(), color=colour, linewidth=1.2)
        axes.vlines(across.value, *upwards.interval(), color=colour, linewidth=1.2)
    else:
        axes.fill(*region.T, color=colour, alpha=0.13, linewidth=0)
        axes.plot(*region.T, color=colour, linewidth=0.9, alpha=0.7)


def _region(across: Quantity, upwards: Quantity) -> Numbers | None:
    """The ellipse of two quantities of the same prompts; of exponents their logarithms, which are symmetric."""
    logs = (across.is_exponent, upwards.is_exponent)
    draws = [np.log(each.draws()) if log else each.draws() for each, log in zip((across, upwards), logs, strict=True)]
    points = ellipse(np.stack(draws, axis=1), min(across.measured, upwards.measured))
    if points is None:
        return None
    return np.stack([np.exp(each) if log else each for each, log in zip(points.T, logs, strict=True)], axis=1)


def _label(axis: Any, key: Key, outcomes: Sequence[Outcome]) -> None:
    """The name of a quantity, on a scale of its own: exponents on a logarithmic one with plain numbers."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

    axis.set_label_text(fill(phrase(key), CHARACTERS))
    if any(key in one.quantities and one.quantities[key].is_exponent for one in outcomes):
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _legend(figure: "Figure", known: Sequence[tuple[str, "Line2D"]]) -> None:
    names = [shown(name, LONGEST) for name, _ in known]
    columns = 1 if max(map(len, names), default=0) > LONGEST // 2 else 2
    if names:
        figure.legend([line for _, line in known], names, loc="outside lower center", ncols=columns, handlelength=1.4)


@contextmanager
def _drawing(names: int, height: float = HEIGHT) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure with room for a legend of so many names."""
    with _styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, height + 0.12 * names), layout="constrained")
        yield figure, figure.subplots()


@contextmanager
def _styled() -> Iterator[None]:
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError(
            "Plots need the package 'matplotlib'.", "Install it: pip install 'lmalgebra[plots]'."
        ) from None
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box stands there; the table has the name
        yield
