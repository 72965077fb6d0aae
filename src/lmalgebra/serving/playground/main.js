// The page: one prompt for two sides, what they share, and the link that carries all of it.

import { get, setKey, Trouble } from "./api.js";
import { Side } from "./side.js";
import { read, written } from "./state.js";

const NUMBERS = ["seed", "max_tokens", "temperature", "top_p"];
const PATIENCE = 2000; // milliseconds between looks at a server that is loading
const PROMPT = "Why is the sea salty?";
const by = (id) => document.getElementById(id);

let sides = [];
let server = null;
let speaking = null;

function notice(sentence) {
  by("notice").textContent = sentence;
  by("notice").hidden = !sentence;
}

function say(sentence) {
  by("said").textContent = sentence;
}

const mode = () => document.querySelector("input[name=mode]:checked").value;
const number = (id) => (by(id).value === "" || !Number.isFinite(by(id).valueAsNumber) ? null : by(id).valueAsNumber);

function state() {
  const numbers = Object.fromEntries(NUMBERS.map((id) => [id, number(id)]));
  return { mode: mode(), prompt: by("prompt").value, ...numbers, sides: sides.map((side) => side.state) };
}

function restore(found) {
  by("prompt").value = found.prompt;
  document.querySelector(`input[name=mode][value=${found.mode}]`).checked = true;
  for (const id of NUMBERS) by(id).value = found[id] ?? "";
  found.sides.forEach((each, place) => (sides[place].state = each));
}

// At first: the first voice, beside the plain term that it starts from.
function beginning() {
  const [{ id, lmalgebra: voice }] = server.voices;
  const model = voice.about.find((term) => term.kind === "model");
  const plain = model && server.allow.includes("formula") ? model.name : voice.formula;
  const side = { voice: id, recipe: "", formula: voice.formula, terms: [] };
  const other = server.voices[1];
  const second = other ? { ...side, voice: other.id, formula: other.lmalgebra.formula } : { ...side, formula: plain };
  return {
    mode: "chat",
    prompt: PROMPT,
    seed: 1,
    max_tokens: null,
    temperature: null,
    top_p: null,
    sides: [side, second],
  };
}

function placeholders() {
  const [first, second] = sides.map((side) => side.voice.generation);
  for (const id of NUMBERS.slice(1)) {
    by(id).placeholder = first[id] === second[id] ? first[id] : `${first[id]}, ${second[id]}`;
  }
}

// Restore what the address carries; a link that cannot be used changes nothing.
function open() {
  const fragment = location.hash.slice(1);
  notice("");
  if (!fragment) return restore(beginning());
  const found = read(fragment);
  const missing = found?.sides.find((side) => !server.voices.some((each) => each.id === side.voice));
  if (found && !missing) {
    restore(found);
    const isLess = sides.some((side, place) => side.formula.text !== found.sides[place].formula);
    return notice(isLess ? "This server does not let requests bring formulas, so the link's are left out." : "");
  }
  restore(beginning());
  notice(
    found
      ? `The link names the voice “${missing.voice}”, which this server does not have.`
      : "The link cannot be read: it is cut short, or not one that this page has made.",
  );
}

async function copy() {
  const fragment = written(state());
  if (!read(fragment)) return say("This is too long for a link.");
  const address = `${location.href.split("#")[0]}#${fragment}`;
  history.replaceState(null, "", address);
  try {
    await navigator.clipboard.writeText(address);
    by("address").hidden = true;
    say("The link is copied.");
  } catch {
    const field = by("address").querySelector("input");
    by("address").hidden = false;
    field.value = address;
    field.focus();
    field.select();
    say("Copy the link from the field.");
  }
}

function request(side) {
  const prompt = by("prompt").value;
  const isChat = mode() === "chat";
  const asked = isChat ? { messages: [{ role: "user", content: prompt }] } : { prompt };
  const numbers = Object.fromEntries(NUMBERS.filter((id) => number(id) !== null).map((id) => [id, number(id)]));
  const explains = side.may("explain") ? { explain: true } : {};
  return {
    path: isChat ? "chat/completions" : "completions",
    body: { ...side.body(), ...asked, ...numbers, ...explains },
    said: (choice) => (isChat ? choice.delta.content : choice.text) ?? "",
    measures: side.may("measure") ? (text) => ({ model: side.voices.value, ...asked, continuation: text }) : null,
  };
}

async function speak() {
  if (speaking) return;
  if (!by("prompt").value.trim()) {
    say("Write a prompt first.");
    return by("prompt").focus();
  }
  speaking = new AbortController();
  by("speak").setAttribute("aria-disabled", "true");
  by("stop").disabled = false;
  say("");
  await Promise.all(sides.map((side) => side.answer.speak(request(side), speaking.signal)));
  speaking = null;
  if (document.activeElement === by("stop")) by("speak").focus();
  by("speak").removeAttribute("aria-disabled");
  by("stop").disabled = true;
}

function ready() {
  by("speak").addEventListener("click", speak);
  by("stop").addEventListener("click", () => speaking?.abort());
  by("link").addEventListener("click", copy);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    speak();
  });
  window.addEventListener("hashchange", open);
}

async function start() {
  by("key").hidden = true;
  try {
    const [models, functions, recipes] = await Promise.all(["models", "functions", "recipes"].map(get));
    server = { voices: models.data, functions: functions.data, recipes: recipes.data, ...models.lmalgebra };
  } catch (error) {
    return lost(error);
  }
  if (!server.voices.length) {
    notice("The server is loading its voices …");
    return setTimeout(start, PATIENCE);
  }
  const changed = () => {
    say("");
    placeholders();
  };
  sides = [new Side("Voice A", "a", server, changed), new Side("Voice B", "b", server, changed)];
  by("sides").replaceChildren(...sides.map((side) => side.root));
  notice("");
  by("asked").hidden = by("sides").hidden = false;
  ready();
  open();
}

function lost(error) {
  if (error.status === 401) {
    by("key").hidden = false;
    by("key-text").focus();
    if (by("key-text").value) notice("The server does not know this key.");
    return;
  }
  notice(error instanceof Trouble ? error.message : "The page cannot start here.");
  if (!(error instanceof Trouble)) console.error(error);
}

by("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(by("key-text").value.trim());
  start();
});
start();
