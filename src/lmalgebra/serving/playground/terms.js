// The terms of a side: the voice's, and those whose prompts the request brings.

import { make } from "./dom.js";

const MOST = 16; // terms of a request
const KINDS = {
  classifier: "a classifier",
  json_schema: "JSON of a schema",
  regex: "a regular expression",
  grammar: "a grammar",
  require: "required words",
  forbid: "forbidden phrases",
};

// A term of the voice in words; `tells` is whether the server tells prompts.
export function about(term, tells) {
  if (term.kind === "classifier") {
    return `a classifier${term.label && ` of ${term.label}`}${term.sign < 0 ? ", of its absence" : ""}`;
  }
  if (term.kind !== "model") return KINDS[term.kind] ?? term.kind;
  const prompt = term.system ?? term.prefix;
  const model = `${term.model}${term.adapter ? " with an adapter" : ""}`;
  return prompt ? `${model}: ${prompt}` : `${model}${tells ? ", without a prompt" : ""}`;
}

export class Terms {
  // `changed` hears of every edit.
  constructor(root, changed) {
    this.root = root.querySelector(".terms");
    this.known = this.root.querySelector(".known");
    this.list = this.root.querySelector(".brought");
    this.add = this.root.querySelector(".add");
    Object.assign(this, { changed, own: [], models: [], brought: [] });
    this.add.addEventListener("click", () => {
      this.bring([...this.brought, { name: this.freeName(), kind: "system", text: "You are a pirate.", model: "" }]);
      this.list.lastElementChild.querySelector("input").focus();
      changed();
    });
  }

  // The terms and models of another voice.
  show(voice, may, tells) {
    this.own = voice.about;
    this.models = voice.models;
    this.add.hidden = !may;
    this.known.replaceChildren(
      ...this.own.map((term) =>
        make("li", {}, make("b", { className: "mono", textContent: term.name }), " ", about(term, tells)),
      ),
    );
    this.bring(this.brought);
  }

  bring(terms) {
    this.brought = terms.map((term) => ({ ...term }));
    this.list.replaceChildren(...this.brought.map((term) => this.editor(term)));
    this.count();
  }

  count() {
    const all = this.own.length + this.brought.length;
    this.add.disabled = this.brought.length >= MOST;
    this.root.querySelector("summary").textContent = `Terms (${all})`;
  }

  editor(term) {
    const name = make("input", {
      value: term.name,
      spellcheck: false,
      autocapitalize: "off",
      "aria-label": "Name of the term",
    });
    const kind = make(
      "select",
      { "aria-label": `What the text of ${term.name} is` },
      make("option", { value: "system", textContent: "system prompt" }),
      make("option", { value: "prefix", textContent: "text before" }),
    );
    const text = make("textarea", { value: term.text, rows: 2, dir: "auto", "aria-label": `Prompt of ${term.name}` });
    const gone = make("button", { textContent: "Remove", "aria-label": `Remove ${term.name}` });
    kind.value = term.kind;
    const edit = () => {
      Object.assign(term, { name: name.value.trim(), kind: kind.value, text: text.value });
      this.changed();
    };
    for (const field of [name, kind, text]) field.addEventListener("input", edit);
    gone.addEventListener("click", () => {
      this.bring(this.brought.filter((each) => each !== term));
      this.add.focus();
      this.changed();
    });
    return make(
      "div",
      { className: "term", role: "group", "aria-label": `Term ${term.name}` },
      name,
      kind,
      ...this.modelChoice(term),
      gone,
      text,
    );
  }

  modelChoice(term) {
    if (this.models.length < 2) return [];
    const choice = make(
      "select",
      { "aria-label": `Model of ${term.name}` },
      ...["", ...this.models].map((name) => make("option", { value: name, textContent: name || "first model" })),
    );
    choice.value = this.models.includes(term.model) ? term.model : "";
    choice.addEventListener("input", () => {
      term.model = choice.value;
      this.changed();
    });
    return [choice];
  }

  freeName() {
    const taken = new Set([...this.own, ...this.brought].map((term) => term.name));
    return ["pirate", ...Array.from({ length: 40 }, (_, place) => `term_${place + 1}`)].find(
      (name) => !taken.has(name),
    );
  }

  // As a request has them: only those that `names` has, and that are not the voice's own.
  asked(names) {
    const own = new Set(this.own.map((term) => term.name));
    const used = this.brought.filter((term) => names.has(term.name) && !own.has(term.name));
    if (!used.length) return {};
    return {
      terms: Object.fromEntries(
        used.map((term) => [
          term.name,
          { [term.kind]: term.text, ...(this.models.includes(term.model) && { model: term.model }) },
        ]),
      ),
    };
  }
}
