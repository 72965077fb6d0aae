"""An explanation as one self-contained HTML page: nothing is fetched, and whatever was said is shown as text."""

import json
from html import escape
from typing import TYPE_CHECKING, Any

from lmalgebra.cli.explain_view import (
    HOW_SHARED,
    MOVED,
    alternatives,
    drawn_with,
    most_moved,
    mover,
    nats,
    share,
    visible,
)
from lmalgebra.cli.pages import filled

if TYPE_CHECKING:
    from lmalgebra.decoding import ExplainedToken, Explanation

COLOURS = 8
"""Colours that the page's style sheet has for terms."""

STRONGEST, WEAKEST = 38, 10
"""Percent of a term's colour behind a token that it moved by FULL nats or more, and by hardly enough."""

FULL = 4.0
STRIP_WIDTH, STRIP_HEIGHT = 720, 92


def page(explanation: "Explanation") -> str:
    """The page as text."""
    blocks = {
        "TITLE": escape(f"What moved each token: {explanation.formula}"),
        "FORMULA": escape(explanation.formula),
        "PROMPT": _prompt(explanation),
        "LEGEND": _legend(explanation),
        "TOKENS": "".join(_token(explanation, index) for index in range(len(explanation.tokens))),
        "STRIP": _strip(explanation),
        "KEY": _key(explanation),
        "TABLE": _table(explanation),
        "NOTES": _notes(explanation),
        "DATA": _data(explanation),
    }
    return filled("explain.html", blocks)


def _prompt(explanation: "Explanation") -> str:
    prompt = explanation.prompt
    messages = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
    return "\n".join(f"<b>{escape(each['role'])}</b> {escape(each['content'])}" for each in messages)


def _colour(explanation: "Explanation", term: str) -> str:
    return f"--c: var(--term-{explanation.terms.index(term) % COLOURS})"


def _legend(explanation: "Explanation") -> str:
    totals = explanation.totals()
    items = [
        f'<li style="{_colour(explanation, term)}"><span class="swatch"></span><b>{escape(term)}</b>'
        f'<span class="total">{nats(totals[term])} nats in all</span></li>'
        for term in explanation.terms
    ]
    return "".join([*items, f"<li>against <b>{escape(explanation.reference)}</b></li>"])


def _token(explanation: "Explanation", index: int) -> str:
    token = explanation.tokens[index]
    classes, style, term = ["t"], "", mover(token)
    if term is not None:
        classes += ["moved"] if token.change > 0 else ["moved", "down"]
        style = f' style="{_colour(explanation, term)}; --s: {_strength(token)}%"'
    text = token.text.lstrip(" ")
    space = " " * (len(token.text) - len(text))  # outside: at the end of a line it would be a patch of colour
    if not text and not space:  # an end, or the beginning of a character
        classes.append("quiet")
        text = visible(token.name)
    label = escape(f"{visible(token.name)}: {_in_words(explanation, token)}")
    return (
        f'{space}<span class="{" ".join(classes)}"{style} data-at="{index}" tabindex="0" aria-label="{label}">'
        f"{escape(text)}</span>"
    )


def _strength(token: "ExplainedToken") -> int:
    return round(WEAKEST + (STRONGEST - WEAKEST) * min(1.0, abs(token.change) / FULL))


def _in_words(explanation: "Explanation", token: "ExplainedToken") -> str:
    parts = ", ".join(f"{term} {nats(part)}" for term, part in token.parts.items())
    return (
        f"{share(token.logprob)}, {explanation.reference} {share(token.reference_logprob)}, "
        f"change {nats(token.change)} nats" + (f" ({parts})" if parts else "")
    )


def _strip(explanation: "Explanation") -> str:
    """A bar for each token: the terms' parts, upwards and downwards from a line."""
    highest = max([1.0, *(_height(token, 1) for token in explanation.tokens)])
    lowest = max([0.5, *(_height(token, -1) for token in explanation.tokens)])
    scale, width = STRIP_HEIGHT / (highest + lowest), STRIP_WIDTH / max(1, len(explanation.tokens))
    line = highest * scale
    bars = []
    for index, token in enumerate(explanation.tokens):
        up = down = line
        for term, part in token.parts.items():
            size = abs(part) * scale
            up -= size if part > 0 else 0
            top = up if part > 0 else down
            down += 0 if part > 0 else size
            bars.append(
                f'<rect class="bar" style="{_colour(explanation, term)}" x="{index * width + width * 0.1:.2f}" '
                f'y="{top:.2f}" width="{width * 0.8:.2f}" height="{size:.2f}"/>'
            )
        bars.append(
            f'<rect class="hit" data-at="{index}" x="{index * width:.2f}" y="0" width="{width:.2f}" '
            f'height="{STRIP_HEIGHT}"/>'
        )
    return (
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH} {STRIP_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="The parts of each token, in its order">{"".join(bars)}'
        f'<line class="axis" x1="0" x2="{STRIP_WIDTH}" y1="{line:.2f}" y2="{line:.2f}"/></svg>'
    )


def _height(token: "ExplainedToken", sign: int) -> float:
    """How far a token's bar reaches to one side, in nats."""
    return sum(max(0.0, sign * part) for part in token.parts.values())


def _key(explanation: "Explanation") -> str:
    colour = f'style="--c: var(--term-0); --s: {STRONGEST - 12}%"'
    return (
        f'<span class="t moved" {colour}>likelier</span> and <span class="t moved down" {colour}>less likely</span> '
        f"than under {escape(explanation.reference)} by {MOVED} nats or more, in the colour of the term with "
        "the largest part. The bars below the text are the parts of each token. Point at a token, or press Tab to go "
        "through them."
    )


def _table(explanation: "Explanation") -> str:
    moved = most_moved(explanation)
    if not moved:
        return f"<p>No token was moved by {MOVED} nats or more.</p>"
    names = [escape(term) for term in explanation.terms]
    reference = escape(explanation.reference)
    head = "".join(f"<th>{name}</th>" for name in ("formula", reference, "change", *names))
    rows = [_row(explanation, position, token) for position, token in moved]
    head = f'<th>at</th><th class="left">token</th>{head}<th class="left">{reference} would say</th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(explanation: "Explanation", position: int, token: "ExplainedToken") -> str:
    numbers = [share(token.logprob), share(token.reference_logprob), nats(token.change)]
    numbers += [nats(token.parts[term]) for term in explanation.terms]
    return (
        f'<tr><td>{position + 1}</td><td class="left mono">{escape(visible(token.name))}</td>'
        f"{''.join(f'<td>{number}</td>' for number in numbers)}"
        f'<td class="left mono">{escape(alternatives(token, 3))}</td></tr>'
    )


def _notes(explanation: "Explanation") -> str:
    notes = [
        f"A nat is a factor of 2.72 in probability. {HOW_SHARED[explanation.method]} The parts add up to the change.",
        drawn_with(explanation),
    ]
    return "".join(f"<p>{escape(note)}</p>" for note in notes)


def _data(explanation: "Explanation") -> str:
    """What the page's script draws from; no text in it can end the script or begin a tag."""
    plain = explanation.to_json()
    moved = most_moved(explanation)
    data: dict[str, Any] = {key: plain[key] for key in ("reference", "terms")}
    data["first"] = moved[0][0] if moved else 0
    data["tokens"] = [_shown(token) for token in plain["tokens"]]
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(token: dict[str, Any]) -> dict[str, Any]:
    kept = {key: token[key] for key in ("logprob", "reference_logprob", "change", "parts", "reference_rank")}
    top = [{"visible": visible(each["text"]), "probability": each["probability"]} for each in token["reference_top"]]
    return kept | {"visible": visible(token["name"]), "reference_top": top}
