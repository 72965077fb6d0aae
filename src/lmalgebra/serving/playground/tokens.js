// A text token by token, in the colours of the terms that moved it, as `lmalgebra explain --html` shows it.

import { colour, make } from "./dom.js";
import { details, largest, nats, percent } from "./panel.js";

const MOVED = 0.5; // nats from which a token counts as moved
const STRONGEST = 38; // percent of a term's colour behind a token that it moved by FULL nats or more
const WEAKEST = 10; // and by hardly enough
const FULL = 4;
const WIDTH = 720;
const HEIGHT = 64;

// A token on one line, its spaces at the ends and its line breaks to be seen.
function visible(text) {
  return text
    .replaceAll("\n", "⏎")
    .replaceAll("\t", "⇥")
    .replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}

function shown(explanation) {
  const tokens = explanation.tokens.map((token) => ({
    ...token,
    visible: visible(token.name),
    reference_top: token.reference_top.map((each) => ({ ...each, visible: visible(each.text) })),
  }));
  return { ...explanation, tokens };
}

// The place of the term with the largest part of a token that moved, or -1.
function mover(token, terms) {
  if (Math.abs(token.change) < MOVED || !terms.length) return -1;
  const parts = terms.map((term) => Math.abs(token.parts[term]));
  return parts.indexOf(Math.max(...parts));
}

function words({ reference, terms }, token) {
  const parts = terms.map((term) => `${term} ${nats(token.parts[term])}`).join(", ");
  const shares = `${percent(Math.exp(token.logprob))}, ${reference} ${percent(Math.exp(token.reference_logprob))}`;
  return `${token.visible}: ${shares}, change ${nats(token.change)} nats${parts && ` (${parts})`}`;
}

function strength(token) {
  return Math.round(WEAKEST + (STRONGEST - WEAKEST) * Math.min(1, Math.abs(token.change) / FULL));
}

function marked(explanation, index) {
  const token = explanation.tokens[index];
  const by = mover(token, explanation.terms);
  const text = token.text.replace(/^ +/, "");
  const space = token.text.slice(0, token.text.length - text.length); // outside: at a line's end it would be a patch
  const isQuiet = !text && !space; // an end, or the beginning of a character
  const node = make("span", {
    className: "t",
    textContent: isQuiet ? token.visible : text,
    role: "option",
    tabIndex: -1,
    "aria-label": words(explanation, token),
    "aria-selected": "false",
  });
  node.dataset.at = index;
  node.classList.toggle("quiet", isQuiet);
  if (by >= 0) {
    node.classList.add("moved");
    node.classList.toggle("down", token.change < 0);
    colour(node, by).style.setProperty("--s", `${strength(token)}%`);
  }
  return [space, node];
}

function legend(explanation) {
  const items = explanation.terms.map((term, place) => {
    const total = explanation.tokens.reduce((sum, token) => sum + token.parts[term], 0);
    const swatch = make("span", { className: "swatch" });
    const told = make("span", { className: "total", textContent: `${nats(total)} nats` });
    return colour(make("li", {}, swatch, make("b", { textContent: term }), told), place);
  });
  return make(
    "ul",
    { className: "legend" },
    ...items,
    make("li", {}, "against ", make("b", { textContent: explanation.reference })),
  );
}

function draw(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// A bar for each token: the terms' parts, upwards and downwards from a line.
function strip(explanation) {
  const { tokens, terms } = explanation;
  const height = (token, sign) => terms.reduce((sum, term) => sum + Math.max(0, sign * token.parts[term]), 0);
  const highest = Math.max(1, ...tokens.map((token) => height(token, 1)));
  const lowest = Math.max(0.5, ...tokens.map((token) => height(token, -1)));
  const scale = HEIGHT / (highest + lowest);
  const width = WIDTH / Math.max(1, tokens.length);
  const line = highest * scale;
  const picture = draw("svg", {
    class: "strip",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  tokens.forEach((token, index) => {
    let up = line;
    let down = line;
    terms.forEach((term, place) => {
      const size = Math.abs(token.parts[term]) * scale;
      const rises = token.parts[term] > 0;
      if (rises) up -= size;
      const around = { x: (index + 0.1) * width, y: rises ? up : down, width: width * 0.8, height: size };
      picture.append(colour(draw("rect", { class: "bar", ...around }), place));
      if (!rises) down += size;
    });
    const hit = draw("rect", { class: "hit", x: index * width, y: 0, width, height: HEIGHT });
    hit.dataset.at = index;
    picture.append(hit);
  });
  picture.append(draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: line, y2: line }));
  return picture;
}

// The whole view; the numbers of the token that is pointed at go to `panel`. One token is in the order of Tab, and arrow
// keys, Home and End go through them.
export function tokenView(given, name, panel) {
  const explanation = shown(given);
  const most = largest(explanation.tokens);
  const said = make("div", {
    className: "said",
    role: "listbox",
    "aria-orientation": "horizontal",
    "aria-label": `${name}, token by token`,
  });
  explanation.tokens.forEach((_, index) => said.append(...marked(explanation, index)));
  const view = make("div", { className: "tokens" }, legend(explanation), said, strip(explanation));
  const [tokens, hits] = [".t", ".hit"].map((kind) => [...view.querySelectorAll(kind)]);
  let at = -1;

  function mark(index, is) {
    if (!tokens[index]) return;
    for (const node of [tokens[index], hits[index]]) node.classList.toggle("here", is);
    tokens[index].tabIndex = is ? 0 : -1;
    tokens[index].setAttribute("aria-selected", String(is));
  }

  function show(index) {
    if (index === at || !tokens[index]) return;
    mark(at, false);
    mark(index, true);
    at = index;
    panel.replaceChildren(...details(explanation, index, most));
  }

  for (const kind of ["pointerover", "focusin", "click"]) {
    view.addEventListener(kind, (event) => {
      const place = event.target.closest("[data-at]")?.dataset.at;
      if (place !== undefined) show(Number(place));
    });
  }
  said.addEventListener("keydown", (event) => {
    const steps = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      Home: 0,
      End: tokens.length - 1,
    };
    const next = tokens[steps[event.key]];
    if (!(event.key in steps)) return;
    event.preventDefault();
    next?.focus();
  });
  const changes = explanation.tokens.map((token) => Math.abs(token.change));
  show(changes.indexOf(Math.max(...changes)));
  return view;
}
