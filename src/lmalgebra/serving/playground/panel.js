// The numbers of one token: what each term wanted, and what the reference would have said.

import { colour, make } from "./dom.js";

export const nats = (x) => (x < 0 ? "\u2212" : "+") + Math.abs(x).toFixed(2);

export function percent(p) {
  if (p < 1e-4) return "<0.01 %";
  return p < 0.01 ? `${(100 * p).toFixed(2)} %` : `${Math.round(100 * p)} %`;
}

// The longest bar stands for so many nats.
export function largest(tokens) {
  return tokens.reduce(
    (most, token) => Math.max(most, ...Object.values(token.parts).map(Math.abs), Math.abs(token.change)),
    1,
  );
}

function row(name, value, track, kind = "") {
  return make(
    "div",
    { className: "row" },
    make("span", { className: `name ${kind}`, textContent: name, title: name }),
    track,
    make("span", { className: "value", textContent: value }),
  );
}

function signed(name, value, most, place) {
  const bar = make("i");
  const width = (50 * Math.abs(value)) / most;
  bar.style.width = `${width}%`;
  bar.style.left = `${value < 0 ? 50 - width : 50}%`;
  const found = row(name, nats(value), make("div", { className: "track signed" }, bar));
  return place === null ? found : colour(found, place);
}

function likely(text, probability) {
  const bar = make("i");
  bar.style.width = `${100 * probability}%`;
  bar.style.left = "0";
  return row(text, percent(probability), make("div", { className: "track" }, bar), "mono");
}

// What stands in the panel for a token of an explanation: its numbers, with `visible` texts.
export function details(explanation, index, most) {
  const token = explanation.tokens[index];
  const { reference, terms } = explanation;
  const bold = (logprob) => make("b", { textContent: percent(Math.exp(logprob)) });
  const rank = token.reference_rank.toLocaleString("en");
  const sum = signed("change", token.change, most, null);
  sum.classList.add("sum");
  return [
    make("p", { className: "now", textContent: token.visible }),
    make(
      "p",
      { className: "sub" },
      `token ${index + 1} · formula `,
      bold(token.logprob),
      ` · ${reference} `,
      bold(token.reference_logprob),
      ` (its choice no. ${rank})`,
    ),
    ...terms.map((term, place) => signed(term, token.parts[term], most, place)),
    sum,
    make("h3", { textContent: `${reference} alone would say` }),
    ...token.reference_top.map((each) => likely(each.visible, each.probability)),
  ];
}
