"""Weights that nobody has to guess: a search for those that grant a wish, and the front of what can be had.

Optuna's multi-objective tree-structured Parzen estimator (Ozaki et al., GECCO 2020, in Optuna: Akiba et al., KDD 2019)
proposes weights. Every quantity that the wish names is an objective, so that the search also shows what another wish
would cost, and the wish's bounds are constraints. One seed proposes the same weights again, and texts and scores are
kept, so that a search which was stopped goes on by being begun again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from lmalgebra.errors import EvaluationError, FormulaError, MissingExtraError
from lmalgebra.evaluation.tuning.free_weights import Span
from lmalgebra.evaluation.tuning.wish import Aim, Bound, Metrics, Part, Wish, resolved

if TYPE_CHECKING:
    import optuna

Weights = dict[str, float]

STEP = 0.001
"""Between weights that are tried: finer ones nobody can hear."""


@dataclass(frozen=True)
class Trial:
    """One choice of weights and what it gave: metrics as in a result, or the `reason` why there are none."""

    weights: Weights
    metrics: Metrics = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Tuned:
    """All trials in order, those that no other beats in everything that the wish names, and the chosen one.

    `is_granted` says whether the chosen one keeps all bounds, by its values; without one that does, the chosen one is
    that which breaks them least.
    """

    wish: Wish
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    chosen: Trial
    is_granted: bool

    def verdict(self) -> str:
        """In words: what was chosen, whether it keeps the bounds, and how sure that is."""
        weights, trials = weights_text(self.chosen.weights), f"{len(self.trials)} choices"
        broken = [bound for bound in self.wish.bounds if bound.excess(_value(bound.aim, self.chosen)) > 0]
        if broken:
            what = " and ".join(map(str, broken))
            return f"None of {trials} keeps {what}. Nearest: {weights}. Widen the spans, or wish for less."
        unsure = [bound for bound in self.wish.bounds if not _is_sure(bound, self.chosen)]
        seek = f"{'lowest' if self.wish.is_lowest else 'highest'} {self.wish.best}"
        kept = " that keeps all bounds" if self.wish.bounds else ""
        sentence = f"Of {trials}, {weights} has the {seek}{kept}."
        if unsure:
            what = " and ".join(map(str, unsure))
            sentence += f" Its interval reaches past {what}, so other prompts may not keep it: take more prompts."
        return sentence + " It was chosen on these prompts; measure it on others before you report it."

    def to_dict(self) -> dict[str, Any]:
        """As in a file: every trial's weights and the value and interval of each aim."""
        return {
            "bounds": list(map(str, self.wish.bounds)),
            "best": f"{'lowest' if self.wish.is_lowest else 'highest'} {self.wish.best}",
            "chosen": self.chosen.weights,
            "is_granted": self.is_granted,
            "trials": [_told(trial, self.wish, trial in self.front) for trial in self.trials],
        }


def tune(
    spans: Sequence[Span],
    measure: Callable[[Weights], Metrics],
    parts: Sequence[Part],
    trials: int,
    seed: int = 0,
    heard: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Try `trials` choices of weights within `spans`; `measure` evaluates one, and `heard` is told of each.

    The first has all weights next to 0, as a start to compare with. A choice of which `measure` raises FormulaError,
    such as one whose mass is not positive, is ruled out. Raises EvaluationError when the first choice is, or when the
    wish does not fit what is measured.
    """
    start = {span.name: min(max(0.0, span.least), span.most) for span in spans}
    first = _tried(start, measure)
    if first.reason:
        raise EvaluationError(
            f"The search cannot start from {weights_text(start)}: {first.reason}", "Choose spans in which it can."
        )
    heard(first)
    wish = resolved(parts, first.metrics)
    search, open_weights = _search(wish, spans, seed)
    search.enqueue_trial(start)
    _tell(search, search.ask(open_weights), wish, first)
    tried = [first]
    while len(tried) < trials:
        asked = search.ask(open_weights)
        trial = _tried({name: round(value, 6) for name, value in asked.params.items()}, measure)
        _tell(search, asked, wish, trial)
        tried.append(trial)
        heard(trial)
    return _judged(wish, tuple(tried))


def weights_text(weights: Weights) -> str:
    """As a sentence has them."""
    return ", ".join(f"{name} = {value:g}" for name, value in weights.items())


def values(wish: Wish, trial: Trial) -> list[float]:
    """What is to be low: each aim's value, negative where it is to be high; infinite where nothing was measured."""
    return [_sign(wish, place) * _value(aim, trial) for place, aim in enumerate(wish.aims)]


def excess(wish: Wish, trial: Trial) -> list[float]:
    """By how much each bound is broken; not above 0 where it is kept."""
    found = [(bound, _value(bound.aim, trial)) for bound in wish.bounds]
    return [bound.excess(value) if isfinite(value) else inf for bound, value in found]


def _tried(weights: Weights, measure: Callable[[Weights], Metrics]) -> Trial:
    try:
        return Trial(weights, measure(weights))
    except FormulaError as error:
        return Trial(weights, reason=error.message)


def _search(wish: Wish, spans: Sequence[Span], seed: int) -> tuple["optuna.Study", dict[str, Any]]:
    """Optuna's study, and its distribution of each weight."""
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("Tuning needs Optuna.", "Install it: pip install 'lmalgebra[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 + 2 * len(spans))
    search = optuna.create_study(directions=["minimize"] * len(wish.aims), sampler=sampler)
    return search, {
        span.name: optuna.distributions.FloatDistribution(span.least, span.most, step=STEP) for span in spans
    }


def _tell(search: "optuna.Study", asked: "optuna.Trial", wish: Wish, trial: Trial) -> None:
    import optuna

    found = values(wish, trial)
    if all(map(isfinite, found)):
        for bound, over in zip(wish.bounds, excess(wish, trial), strict=True):
            asked.set_constraint(str(bound), over)
        search.tell(asked, found)
    else:
        search.tell(asked, state=optuna.trial.TrialState.FAIL)


def _judged(wish: Wish, trials: tuple[Trial, ...]) -> Tuned:
    points = {place: values(wish, trial) for place, trial in enumerate(trials) if not trial.reason}
    front = [trials[place] for place in points if not any(_beats(other, points[place]) for other in points.values())]
    best = len(wish.aims) - 1 if wish.best not in [bound.aim for bound in wish.bounds] else wish.aims.index(wish.best)

    def rank(place: int) -> tuple[float, ...]:
        """What is broken, then what is sought, then the rest, so that the first is on the front."""
        return sum(max(0.0, each) for each in excess(wish, trials[place])), points[place][best], *points[place]

    chosen = min(points, key=rank)
    front.sort(key=lambda trial: values(wish, trial))
    return Tuned(wish, trials, tuple(front), trials[chosen], rank(chosen)[0] == 0)


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere worse and somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)


def _sign(wish: Wish, place: int) -> int:
    aim = wish.aims[place]
    if aim == wish.best:
        return 1 if wish.is_lowest else -1
    return 1 if next(bound.is_upper for bound in wish.bounds if bound.aim == aim) else -1


def _value(aim: Aim, trial: Trial) -> float:
    found = aim.of(trial.metrics)["value"] if trial.metrics else None
    return inf if found is None else float(found)


def _is_sure(bound: Bound, trial: Trial) -> bool:
    """Whether the whole interval keeps the bound."""
    found = bound.aim.of(trial.metrics)
    edge = found["high"] if bound.is_upper else found["low"]
    return edge is not None and bound.excess(edge) <= 0


def _told(trial: Trial, wish: Wish, is_on_front: bool) -> dict[str, Any]:
    if trial.reason:
        return {"weights": trial.weights, "reason": trial.reason}
    aims = {str(aim): {key: aim.of(trial.metrics)[key] for key in ("value", "low", "high")} for aim in wish.aims}
    return {"weights": trial.weights, "is_on_front": is_on_front, **aims}
