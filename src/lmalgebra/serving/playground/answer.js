// What a side says: its text as it comes, then token by token, with what it measures.

import { make } from "./dom.js";
import { post, stream, Trouble } from "./api.js";
import { tokenView } from "./tokens.js";

const amount = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

function measured(name, value, note) {
  const told = make(
    "dd",
    {},
    make("b", { textContent: value }),
    " ",
    make("span", { className: "note", textContent: note }),
  );
  return make("div", {}, make("dt", { textContent: name }), told);
}

export class Answer {
  constructor(root, name) {
    this.status = root.querySelector(".status");
    this.trouble = root.querySelector(".trouble");
    this.text = root.querySelector(".text");
    this.measures = root.querySelector(".measures");
    this.token = root.querySelector(".token");
    this.name = name;
  }

  // Speak; `asked` is { path, body, said, measures }: where to, what, how its chunks say text, and how to measure it.
  async speak(asked, signal) {
    this.clear();
    this.status.textContent = "Speaking …";
    try {
      const told = await this.hear(asked, signal);
      this.text.classList.remove("growing");
      if (told.explanation) this.text.replaceChildren(...this.views(told.explanation));
      this.status.textContent = this.summary = told.summary;
      if (told.text && asked.measures) await this.measure(asked.measures(told.text), signal);
    } catch (error) {
      this.fail(error);
    } finally {
      this.text.classList.remove("growing");
    }
  }

  clear() {
    this.text.replaceChildren();
    this.token.replaceChildren();
    this.text.classList.add("growing");
    this.measures.hidden = true;
    this.trouble.hidden = true;
    this.summary = "";
  }

  async hear({ path, body, said }, signal) {
    const shown = this.text.appendChild(document.createTextNode(""));
    const told = { text: "", explanation: null, summary: "" };
    let reason = "";
    let count = 0;
    let seed = 0;
    for await (const chunk of stream(path, { ...body, stream_options: { include_usage: true } }, signal)) {
      const [choice] = chunk.choices;
      count = chunk.usage?.completion_tokens ?? count;
      seed = chunk.lmalgebra?.seed ?? seed;
      if (!choice) continue;
      told.text += said(choice);
      shown.appendData(said(choice));
      told.explanation = choice.explanation ?? told.explanation;
      reason = choice.finish_reason ?? reason;
      if (reason && body.explain) this.status.textContent = "Said; now what moved each token …";
    }
    told.summary = `Done: ${amount(count, "token")}${reason === "length" ? ", the limit" : ""}; seed ${seed}.`;
    return told;
  }

  views(explanation) {
    return [
      make("p", { className: "unseen", textContent: explanation.text }),
      tokenView(explanation, this.name, this.token),
    ];
  }

  async measure(body, signal) {
    const found = await post("measure", body, signal);
    const [of] = found.data;
    const told = (number, digits) => (number === null ? "none" : number.toFixed(digits));
    const judged = Object.entries(of.judged).map(([judge, score]) => measured(judge, told(score, 2), "of 1"));
    const by = `by ${found.lmalgebra.perplexity_by}`;
    this.measures.replaceChildren(...judged, measured("perplexity", told(of.perplexity, 1), by));
    this.measures.hidden = false;
  }

  fail(error) {
    if (error.name === "AbortError") {
      this.status.textContent = this.summary || "Stopped.";
      return;
    }
    this.status.textContent = this.summary;
    this.trouble.textContent = error instanceof Trouble ? error.message : "The page cannot show this answer.";
    this.trouble.hidden = false;
    if (!(error instanceof Trouble)) console.error(error);
  }
}
