// Elements from data. Texts only ever become text.

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

export const COLOURS = 8; // in the style sheet, for terms in their order

export function colour(node, place) {
  node.style.setProperty("--c", `var(--term-${place % COLOURS})`);
  return node;
}
