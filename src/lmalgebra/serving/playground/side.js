// One of the two sides: a voice, its formula and terms, and what it says.

import { make } from "./dom.js";
import { Answer } from "./answer.js";
import { FormulaField, namesIn } from "./formula.js";
import { about, Terms } from "./terms.js";

export class Side {
  // `server` is what there is to choose from: voices, functions, recipes, allow. `changed` hears of every edit.
  constructor(name, id, server, changed) {
    this.root = document.getElementById("side").content.cloneNode(true).firstElementChild;
    Object.assign(this, { name, server, recipe: "" });
    const title = this.root.querySelector("h2");
    title.textContent = name;
    title.id = `side-${id}`;
    this.root.setAttribute("aria-labelledby", title.id);
    this.root.querySelector(".weights").setAttribute("aria-label", `Weights of ${name}`);
    this.voices = this.root.querySelector(".voice");
    this.recipes = this.root.querySelector(".recipe");
    this.paper = this.root.querySelector(".paper");
    this.answer = new Answer(this.root, name);
    this.terms = new Terms(this.root, () => {
      changed();
      this.formula.edited();
    });
    this.formula = new FormulaField(
      this.root,
      id,
      (text) => this.body(text),
      () => this.completions(),
      changed,
    );
    this.voices.append(...server.voices.map((each) => make("option", { value: each.id, textContent: each.id })));
    this.voices.addEventListener("change", () => this.choose(this.voices.value));
    this.recipes.addEventListener("change", () => this.cook(this.recipes.value));
  }

  get voice() {
    return this.server.voices.find((each) => each.id === this.voices.value).lmalgebra;
  }

  may(what) {
    return this.server.allow.includes(what);
  }

  get state() {
    return { voice: this.voices.value, recipe: this.recipe, formula: this.formula.text, terms: this.terms.brought };
  }

  set state({ voice, recipe, formula, terms }) {
    this.voices.value = voice;
    this.terms.brought = terms;
    this.dress();
    this.tell(recipe);
    this.formula.text = this.may("formula") ? formula : this.voice.formula;
  }

  // Another voice, speaking by its own formula.
  choose(voice) {
    const { formula } = this.server.voices.find((each) => each.id === voice).lmalgebra;
    this.state = { voice, recipe: "", formula, terms: [] };
  }

  // What depends on the voice.
  dress() {
    const may = this.may("formula") && this.may("prompts");
    this.terms.show(this.voice, may, this.may("describe"));
    this.formula.allow(this.may("formula"));
    const options = this.server.recipes.map((each) => {
      const lacks = each.parts.includes("classifier") && !this.classifier;
      return make("option", {
        value: each.id,
        textContent: `${each.id}${lacks ? " (the voice has no classifier)" : ""}`,
        disabled: lacks,
      });
    });
    this.recipes.replaceChildren(make("option", { value: "", textContent: "none" }), ...options);
    this.recipes.disabled = !may;
  }

  get classifier() {
    return this.voice.about.find((term) => term.kind === "classifier")?.name;
  }

  // The formula and terms of a recipe; parts that the voice has are the voice's terms.
  cook(id) {
    const recipe = this.server.recipes.find((each) => each.id === id);
    if (!recipe) return this.choose(this.voices.value);
    const own = this.voice.terms;
    const brought = Object.entries(recipe.prompts).filter(([part]) => !own.includes(part));
    this.terms.bring(brought.map(([name, text]) => ({ name, kind: "system", text, model: "" })));
    this.terms.root.open = true;
    this.tell(id);
    this.formula.text = recipe.formula.replace(/\bclassifier\b/g, this.classifier ?? "classifier");
  }

  tell(id) {
    const recipe = this.server.recipes.find((each) => each.id === id);
    this.recipe = this.recipes.value = recipe ? id : "";
    this.paper.hidden = !recipe;
    this.paper.textContent = recipe ? `${recipe.title}: ${recipe.paper}` : "";
  }

  completions() {
    const { about: own } = this.voice;
    const terms = own.map((term) => ({ name: term.name, about: about(term, this.may("describe")) }));
    const brought = this.terms.brought.map(({ name, text }) => ({ name, about: text }));
    const functions = this.server.functions.map(({ id, usage }) => ({ name: id, about: usage, takes: true }));
    return [...terms, ...brought, ...functions];
  }

  // What every request about this side says.
  body(text = this.formula.text) {
    const own = text.trim() === this.voice.formula;
    if (own || !this.may("formula")) return { model: this.voices.value };
    return { model: this.voices.value, formula: text, ...this.terms.asked(namesIn(text)) };
  }
}
