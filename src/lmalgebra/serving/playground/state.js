// Everything that a link carries, and how it is written there: JSON as base64url in the address's fragment.

const MOST = 200_000; // characters of a link
const KINDS = ["system", "prefix"];

const isText = (value, most = 100_000) => typeof value === "string" && value.length <= most;
const isNumber = (value) => value === null || Number.isFinite(value);

const TERM = {
  name: (value) => isText(value, 100),
  kind: (value) => KINDS.includes(value),
  text: isText,
  model: (value) => isText(value, 100),
};
const SIDE = {
  voice: (value) => isText(value, 100),
  recipe: (value) => isText(value, 100),
  formula: isText,
  terms: (value) => Array.isArray(value) && value.length <= 32 && value.every((each) => fits(each, TERM)),
};
const STATE = {
  version: (value) => value === 1,
  mode: (value) => value === "chat" || value === "plain",
  prompt: isText,
  seed: isNumber,
  max_tokens: isNumber,
  temperature: isNumber,
  top_p: isNumber,
  sides: (value) => Array.isArray(value) && value.length === 2 && value.every((each) => fits(each, SIDE)),
};

function fits(value, shape) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return (
    Object.keys(value).length === Object.keys(shape).length &&
    Object.entries(shape).every(([key, is]) => Object.hasOwn(value, key) && is(value[key]))
  );
}

export function written(state) {
  const bytes = new TextEncoder().encode(JSON.stringify({ version: 1, ...state }));
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// The state of a fragment, or null for one that no page has written.
export function read(fragment) {
  if (fragment.length > MOST) return null;
  try {
    const text = atob(fragment.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return fits(found, STATE) ? found : null;
  } catch {
    return null;
  }
}
