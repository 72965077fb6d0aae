// What the page asks of the server. Whatever goes wrong is a Trouble: one sentence for the user.

const KEY = "lmalgebra key";
const ROOT = new URL("v1/", document.baseURI);

export class Trouble extends Error {
  constructor(sentence, status = 0) {
    super(sentence);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function ask(path, body, signal) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const request = { headers, signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" };
  if (body !== undefined) {
    request.method = "POST";
    request.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(new URL(path, ROOT), request).catch((error) => {
    throw error.name === "AbortError"
      ? error
      : new Trouble("The server does not answer: the connection is lost, or the server has ended.");
  });
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  const told = await answer.json().catch(() => null);
  const sentence = told?.error?.message ?? `The server answers with status ${answer.status}.`;
  if (answer.status === 429 || answer.status === 503) {
    return new Trouble(
      `${sentence} Try again in ${answer.headers.get("Retry-After") ?? "some"} seconds.`,
      answer.status,
    );
  }
  return new Trouble(sentence, answer.status);
}

export async function get(path) {
  return (await ask(path)).json();
}

export async function post(path, body, signal) {
  return (await ask(path, body, signal)).json();
}

// The chunks of an answer that is streamed. Throws Trouble for an error event, and for a stream that ends too early.
export async function* stream(path, body, signal) {
  const answer = await ask(path, { ...body, stream: true }, signal);
  for await (const event of events(answer.body)) {
    if (event === "[DONE]") return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Trouble(chunk.error.message);
    yield chunk;
  }
  throw new Trouble("The connection was lost before the text was done.");
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Trouble("The connection was lost before the text was done.");
    });
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
  }
}
