// The field of a formula: checked by the server while it is typed, with the mistake marked where it stands.

import { colour, make } from "./dom.js";
import { post } from "./api.js";
import { Completion } from "./completion.js";
import { Sliders } from "./sliders.js";

const PAUSE = 200; // milliseconds after the last key until the text is checked
const SILENCE = 1500; // and until a screen reader is told of a mistake
const NAMES = /[\p{L}_][\p{L}\p{N}_]*/gu;

export const namesIn = (text) => new Set(text.match(NAMES) ?? []);

// The server counts characters, and JavaScript units of 16 bits.
const unit = (text, place) => [...text].slice(0, place).join("").length;

export class FormulaField {
  // `asked` gives the body of a check, `names` the completions; `changed` hears of every edit.
  constructor(root, id, asked, names, changed) {
    this.field = root.querySelector(".formula textarea");
    this.mirror = root.querySelector(".mirror");
    this.mistake = root.querySelector(".mistake");
    this.told = root.querySelector(".told");
    Object.assign(this, { asked, changed, last: null, numbered: "", timer: 0, telling: 0, asking: null });
    const list = root.querySelector(".formula [role=listbox]");
    this.field.id = `formula-${id}`;
    this.mistake.id = `mistake-${id}`;
    list.id = `completions-${id}`;
    root.querySelector(".formula-label").htmlFor = this.field.id;
    this.field.setAttribute("aria-describedby", this.mistake.id);
    this.sliders = new Sliders(root.querySelector(".weights"), (start, end, text) => this.put(start, end, text));
    this.completion = new Completion(this.field, list, names, () => this.edited());
    this.field.addEventListener("input", () => this.edited());
    new ResizeObserver(() => this.fit()).observe(root);
  }

  get text() {
    return this.field.value;
  }

  set text(value) {
    this.field.value = value;
    this.last = null;
    this.edited(0);
  }

  put(start, end, text) {
    const all = this.text;
    if (all !== this.numbered) return false; // typed since: the numbers may stand elsewhere
    this.numbered = this.field.value = all.slice(0, unit(all, start)) + text + all.slice(unit(all, end));
    this.edited();
    return true;
  }

  edited(pause = PAUSE) {
    this.fit();
    this.mark();
    this.changed();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.check(), pause);
  }

  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  async check() {
    this.asking?.abort();
    this.asking = new AbortController();
    const text = this.text;
    try {
      const found = await post("formula", this.asked(text), this.asking.signal);
      if (text === this.text) this.take(found);
    } catch (error) {
      if (error.name !== "AbortError") this.say(error.message, false);
    }
  }

  take(found) {
    const { error } = found;
    this.last = error ? this.last : found;
    this.numbered = this.text;
    this.sliders.show(found.numbers);
    this.say(error?.message ?? "");
    this.mark(error);
  }

  // `isWrong` is whether the formula is to blame.
  say(sentence, isWrong = Boolean(sentence)) {
    this.mistake.textContent = sentence;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => (this.told.textContent = sentence), SILENCE);
    this.field.setAttribute("aria-invalid", String(isWrong));
  }

  // Behind the text: a line under each term in its colour, and a wave under the mistake.
  mark(error = null) {
    const { text } = this;
    const { terms = [], reference } = this.last ?? {};
    const places = new Map(terms.filter((term) => term.name !== reference).map((term, place) => [term.name, place]));
    const marks = [];
    for (const { 0: name, index } of text.matchAll(NAMES)) {
      if (!places.has(name)) continue;
      marks.push({ start: index, end: index + name.length, kind: "span", place: places.get(name) });
    }
    if (error && error.start !== null) {
      const wrong = { start: unit(text, error.start), end: unit(text, error.end), kind: "mark" };
      const apart = marks.filter((each) => each.end <= wrong.start || each.start >= wrong.end);
      marks.splice(0, marks.length, ...apart, wrong);
    }
    let done = 0;
    const nodes = [];
    for (const { start, end, kind, place } of marks.sort((one, other) => one.start - other.start)) {
      const node = make(kind, { textContent: text.slice(start, end) || " " });
      nodes.push(text.slice(done, start), place === undefined ? node : colour(node, place));
      done = end;
    }
    this.mirror.replaceChildren(...nodes, text.slice(done), "\u200b"); // which makes the last line break count
  }

  allow(is) {
    this.field.readOnly = !is;
    this.sliders.allow(is);
  }
}
