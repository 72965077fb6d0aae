// A slider for each number of a formula, which rewrites the number where it stands.

import { make } from "./dom.js";

const SHARES = ["top_p", "min_p", "prior", "target", "least"];
const COUNTS = ["top_k", "tokens", "half_life"];

// Least, most and step of a slider for a number that is now `value`.
function range({ argument, value }) {
  if (SHARES.includes(argument)) return [argument === "top_p" ? 0.01 : 0, 1, 0.01];
  if (COUNTS.includes(argument)) return [1, Math.max(100, Math.ceil(2 * value)), 1];
  const size = Math.max(2, Math.ceil(2 * Math.abs(value)));
  return [value < 0 ? -size : 0, size, size > 20 ? 0.5 : 0.05];
}

function named({ argument, of }) {
  if (argument) return `${argument} of ${of}`;
  return of ? `× ${of}` : "number";
}

export class Sliders {
  // `rewrite` puts a text between two places of the formula, and returns whether it could.
  constructor(group, rewrite) {
    Object.assign(this, { group, rewrite, numbers: [], shape: "", allowed: true });
  }

  // Sliders stay where numbers only change, so that one can be dragged while its formula is checked.
  show(numbers) {
    this.numbers = numbers.map((each) => ({ ...each }));
    const shape = JSON.stringify(numbers.map((each) => each.argument));
    if (shape !== this.shape) this.group.replaceChildren(...numbers.map((each, place) => this.made(each, place)));
    this.shape = shape;
    [...this.group.children].forEach((label, place) => this.update(label, this.numbers[place]));
  }

  made(number, place) {
    const slider = make("input", { type: "range", disabled: !this.allowed });
    const output = make("output", { "aria-hidden": "true" }); // the slider has a value of its own
    [slider.min, slider.max, slider.step] = range(number);
    slider.addEventListener("input", () => this.moved(place, Number(slider.value)));
    return make("label", { className: "weight" }, make("span", { className: "name mono" }), slider, output);
  }

  update(label, number) {
    const [name, slider, output] = label.children;
    if (number.value < Number(slider.min) || number.value > Number(slider.max)) {
      [slider.min, slider.max, slider.step] = range(number);
    }
    name.textContent = named(number);
    slider.value = number.value;
    output.value = String(number.value);
  }

  moved(place, value) {
    const number = this.numbers[place];
    const text = String(Number(value.toFixed(2)));
    if (!this.rewrite(number.start, number.end, text)) return;
    const longer = [...text].length - (number.end - number.start);
    number.end += longer;
    number.value = Number(text);
    for (const other of this.numbers.filter((each) => each.start > number.start)) {
      other.start += longer;
      other.end += longer;
    }
    this.group.children[place].querySelector("output").value = text;
  }

  allow(is) {
    this.allowed = is;
    this.group.querySelectorAll("input").forEach((slider) => (slider.disabled = !is));
  }
}
