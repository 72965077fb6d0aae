// Completions of names in a text field, chosen by keyboard or pointer.

import { make } from "./dom.js";

const WORD = /[\p{L}_][\p{L}\p{N}_]*$/u;
const REST = /^[\p{L}\p{N}_]*/u;
const SHOWN = 12;

// `names` gives what there is to choose from: { name, about, takes }, where a function `takes` something between brackets.
// `changed` is called when one was taken.
export class Completion {
  constructor(field, list, names, changed) {
    Object.assign(this, { field, list, names, changed, found: [], at: 0 });
    field.setAttribute("aria-controls", list.id);
    field.addEventListener("input", () => this.look(1));
    field.addEventListener("blur", () => this.close());
    field.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const place = event.target.closest("li")?.dataset.place;
      if (place !== undefined) this.take(Number(place));
    });
  }

  get isOpen() {
    return !this.list.hidden;
  }

  word() {
    const end = this.field.selectionStart;
    return WORD.exec(this.field.value.slice(0, end))?.[0] ?? "";
  }

  // Show what begins with the word at the caret, if that has so many characters.
  look(least) {
    const word = this.word();
    const begins = word.toLowerCase();
    this.found =
      word.length < least
        ? []
        : this.names()
            .filter((each) => each.name.toLowerCase().startsWith(begins))
            .slice(0, SHOWN);
    if (this.found.length === 1 && this.found[0].name === word) this.found = [];
    if (!this.found.length || this.field.readOnly) return this.close();
    this.list.replaceChildren(
      ...this.found.map((each, place) => {
        const item = make(
          "li",
          { role: "option", id: `${this.list.id}-${place}` },
          make("b", { textContent: each.name }),
          " ",
          make("span", { textContent: each.about }),
        );
        item.dataset.place = place;
        return item;
      }),
    );
    this.list.hidden = false;
    this.select(0);
  }

  select(place) {
    this.at = (place + this.found.length) % this.found.length;
    [...this.list.children].forEach((item, each) => item.setAttribute("aria-selected", String(each === this.at)));
    this.list.children[this.at].scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", `${this.list.id}-${this.at}`);
  }

  close() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.field.removeAttribute("aria-activedescendant");
  }

  take(place) {
    const { name, takes } = this.found[place];
    const { field } = this;
    const end = field.selectionStart;
    const start = end - this.word().length;
    const after = REST.exec(field.value.slice(end))[0].length;
    field.setRangeText(takes ? `${name}()` : name, start, end + after, "end");
    field.selectionStart = field.selectionEnd = start + name.length + (takes ? 1 : 0);
    this.close();
    this.changed();
  }

  key(event) {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      return this.look(0);
    }
    if (!this.isOpen || event.ctrlKey || event.isComposing) return;
    const does = {
      ArrowDown: () => this.select(this.at + 1),
      ArrowUp: () => this.select(this.at - 1),
      Enter: () => this.take(this.at),
      Tab: () => this.take(this.at),
      Escape: () => this.close(),
    }[event.shiftKey ? "" : event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}
