"""Random formulas, and a plain-Python interpreter that says what a formula means."""

import math

from hypothesis import strategies as st

from lmalgebra.algebra import (
    Constant,
    Description,
    Formula,
    Intersection,
    Mix,
    Posterior,
    Power,
    Probability,
    Scale,
    Sum,
    Term,
    Tilt,
    Union,
    Within,
    at,
    decay,
    forbids,
    mass,
    ramp,
)


class Bias(Description):
    """A classifier: mass 0, forbids nothing."""

    mass = 0.0


class Rule(Description):
    """A constraint: mass 0, forbids tokens."""

    mass = 0.0
    forbids = True


a, b, c = Term("a"), Term("b"), Term("c")
bias = Term("bias", Bias())
rule = Term("rule", Rule())
TERMS = {term.name: term for term in (a, b, c, bias, rule)}
VOCABULARY = 5

numbers = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1e-7, 0.1, 0.5, 1.0, 2.0, 3.25]) | st.floats(-8, 8)
curves = st.sampled_from(
    [ramp(0, 1, tokens=4), ramp(1, -0.5, tokens=3), decay(1, half_life=2), decay(-2, half_life=0.5)]
)
weights = numbers | curves | st.builds(lambda n, x, y: n + 2 * x - x * y, numbers, curves, curves)
exponents = st.sampled_from([0.25, 0.5, 1.0, 2.0, 1 + ramp(0, 1, tokens=4)])
positive_numbers = st.sampled_from([0.25, 0.5, 1.0, 2.0])

Pair = tuple[list[float], float]


@st.composite
def any_formulas(draw, levels=4):
    """Formulas of every kind, with or without a distribution."""
    kind = draw(st.sampled_from(_KINDS if levels else ("term", "constant")))
    if kind == "term":
        return draw(st.sampled_from((a, b, c, bias, rule)))
    if kind == "constant":
        return Constant(draw(weights))
    operands = tuple(draw(any_formulas(levels - 1)) for _ in range(draw(st.integers(1, 3))))
    first = operands[0]
    if kind == "sum":
        return Sum((*operands, draw(st.sampled_from((a, b, c)))))
    if kind == "scale":
        return draw(weights) * first
    if kind == "union":
        return Union(operands)
    if kind == "intersection":
        return Intersection(operands)
    if kind == "tilt":
        return Tilt(first)
    if kind == "probability":
        return Probability(first)
    if kind == "power":
        return Power(first, draw(exponents))
    if kind == "posterior":
        return draw(_posteriors(first, operands[-1]))
    if kind == "within":
        return Within(first, draw(st.none() | st.integers(1, 5)), draw(st.sampled_from([0.5, 0.9, 1.0])))
    return _mixed(draw, operands)


@st.composite
def sound_formulas(draw, levels=4):
    """Formulas of mass 1 in which everything that is normalised has mass 1, too."""
    if not levels:
        return draw(st.sampled_from((a, b, c)))
    operands = tuple(draw(sound_formulas(levels - 1)) for _ in range(draw(st.integers(1, 3))))
    first, last = operands[0], operands[-1]
    kind = draw(
        st.sampled_from(
            ("term", "tilted", "weighed", "shifted", "biased", "steered", "limited", "judged", *_KINDS[2:-1])
        )
    )
    if kind == "term":
        return draw(st.sampled_from((a, b, c)))
    if kind == "tilted":
        return first + draw(positive_numbers if forbids(last) else weights) * Tilt(last)
    if kind == "weighed":
        return first + draw(weights) * Probability(last)
    if kind == "shifted":
        return first + draw(weights)
    if kind == "biased":
        return first + draw(weights) * bias + draw(positive_numbers) * rule
    if kind == "steered":
        return first + draw(weights) * (draw(st.sampled_from((a, b, c))) - b)
    if kind == "judged":
        return first + draw(positive_numbers if forbids(last) else weights) * draw(_posteriors(last, operands[0]))
    if kind == "limited":
        return first + draw(positive_numbers) * Within(a, draw(st.integers(2, 4)))
    if kind == "union":
        return Union(operands)
    if kind == "intersection":
        return Intersection(operands)
    if kind == "power":
        return Power(2 * first, draw(exponents))
    if kind == "mix":
        return _mixed(draw, operands)
    share = draw(st.sampled_from([0.25, 0.5, 0.75]))
    return share * first + (1 - share) * last


_KINDS = (
    "term",
    "constant",
    "sum",
    "scale",
    "union",
    "intersection",
    "tilt",
    "probability",
    "power",
    "within",
    "mix",
    "posterior",
)


def _posteriors(desired, undesired):
    numbers = st.sampled_from([0.5, 1.0, 3.0])
    return st.builds(
        Posterior,
        *map(st.just, (desired, undesired)),
        numbers,
        st.sampled_from([0.2, 0.5]),
        st.sampled_from([0.0, 0.5, 1]),
    )


def _mixed(draw, operands):
    mixable = tuple(a if isinstance(operand, Scale | Constant) else operand for operand in operands)
    drawn = [draw(st.sampled_from([0.0, 0.3, 1.0, 2.0])) for _ in mixable]
    return Mix((*drawn, 0.5), (*mixable, b))


def random_leaves(random) -> dict[str, list[float]]:
    """A score for each term: normalised log-probabilities for models, any number for a bias, 0 or -inf for a rule."""
    drawn = {name: normalised([random.uniform(-4, 4) for _ in range(VOCABULARY)], 1.0) for name in ("a", "b", "c")}
    drawn["bias"] = [random.uniform(-4, 4) for _ in range(VOCABULARY)]
    drawn["rule"] = [0.0] + [random.choice([0.0, -math.inf]) for _ in range(VOCABULARY - 1)]
    return drawn


def normalised(score: list[float], its_mass: float) -> list[float]:
    """log_softmax(score / mass)."""
    if its_mass <= 0:
        return [math.nan] * len(score)
    scaled = [value / its_mass for value in score]
    top = max(scaled)
    if top == -math.inf:
        return [math.nan] * len(score)
    total = top + math.log(math.fsum(math.exp(value - top) for value in scaled))
    return [value - total for value in scaled]


def evaluate(node: Formula, leaves: dict[str, list[float]], position: int) -> Pair:
    """Score and mass of a formula at a position, straight from the definitions; posteriors have no text before it."""
    if isinstance(node, Term):
        return leaves[node.name], at(mass(node), position)
    if isinstance(node, Constant):
        return [at(node.weight, position)] * VOCABULARY, 0.0
    pairs = [evaluate(operand, leaves, position) for operand in node.operands]
    columns = list(zip(*(score for score, _ in pairs), strict=True))
    first_mass = pairs[0][1]
    if isinstance(node, Sum):
        return [sum(column) for column in columns], sum(its_mass for _, its_mass in pairs)
    if isinstance(node, Scale):
        weight = at(node.weight, position)
        return [weight * column[0] for column in columns], weight * first_mass
    if isinstance(node, Union):
        return [max(column) for column in columns], first_mass
    if isinstance(node, Intersection):
        return [min(column) for column in columns], first_mass
    logprobs = [normalised(score, its_mass) for score, its_mass in pairs]
    if isinstance(node, Tilt):
        return logprobs[0], 0.0
    if isinstance(node, Probability):
        return [math.exp(value) for value in logprobs[0]], 0.0
    if isinstance(node, Power):
        return [at(node.exponent, position) * value for value in logprobs[0]], 1.0
    if isinstance(node, Mix):
        return _log_mean(node, logprobs), 1.0
    if isinstance(node, Posterior):
        tempering = node.scale / (position + 1) ** node.length_power
        odds = math.log(node.prior / (1 - node.prior))
        return [log_sigmoid(tempering * (0.0 if d == u else d - u) + odds) for d, u in zip(*logprobs, strict=True)], 0.0
    if isinstance(node, Within):
        allowed = sorted(range(VOCABULARY), key=lambda token: -logprobs[0][token])[: node.top_k]
        return [0.0 if token in allowed else -math.inf for token in range(VOCABULARY)], 0.0
    raise TypeError(type(node))


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value)) if value > 0 else value - math.log1p(math.exp(value))


def _log_mean(node: Mix, logprobs: list[list[float]]) -> list[float]:
    means = [
        math.fsum(weight * math.exp(value) for weight, value in zip(node.weights, column, strict=True) if weight)
        / math.fsum(node.weights)
        for column in zip(*logprobs, strict=True)
    ]
    return [math.log(mean) if mean > 0 else -math.inf for mean in means]
