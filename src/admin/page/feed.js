// Fetching figures again and again: one request on the way at a time, none while nobody looks, and a
// failure told apart by what can be done about it.

const TIMEOUT = 5000;
const LONGEST = 6000; // between two answers
const TOKEN = "mavera-gateway.token";

// The token stays in this tab, and leaves it in one header only.
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  keep: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

// Why there is no answer. `kind` is one of: unreachable, token_required, token_invalid, loopback_only,
// ledger_unreadable, invalid_parameter, unexpected.
export class Problem extends Error {
  constructor(kind, message = "") {
    super(message);
    this.kind = kind;
  }
}

const KNOWN = ["token_required", "token_invalid", "loopback_only", "ledger_unreadable", "invalid_parameter"];

// The text that is answered with, of this media type.
export async function ask(address, accept, signal) {
  const headers = { accept };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  let response, body;
  try {
    response = await fetch(address, {
      headers,
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
    body = await response.text();
  } catch {
    throw new Problem("unreachable");
  }
  if (response.ok && response.headers.get("content-type")?.startsWith(accept)) return body;
  let answer = null;
  try {
    answer = JSON.parse(body);
  } catch {
    // Told below: what is not JSON is not from the gateway.
  }
  const { code, message } = answer?.error ?? {};
  if (KNOWN.includes(code)) throw new Problem(code, message);
  throw new Problem(
    "unexpected",
    message ?? `Something that is no figure came back, with status ${response.status}.`,
  );
}

export class Feed {
  #timer = null;
  #running = null;
  #wanted = false;

  // `address()` is asked before each fetch; `every` is a number of milliseconds.
  constructor({ every, address, arrived, failed }) {
    Object.assign(this, { every, address, arrived, failed });
    document.addEventListener("visibilitychange", () => {
      if (!this.#wanted) return;
      if (document.hidden) clearTimeout(this.#timer);
      else this.#turn();
    });
  }

  get wanted() {
    return this.#wanted;
  }

  // Starts, or starts over: what is on the way for an address of before is not wanted any more.
  start() {
    this.stop();
    this.#wanted = true;
    this.#turn();
  }

  stop() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = null;
  }

  async #turn() {
    clearTimeout(this.#timer);
    if (this.#running) return;
    const running = (this.#running = new AbortController());
    const timeout = setTimeout(() => running.abort(), TIMEOUT);
    const begun = performance.now();
    let fetched, problem;
    try {
      fetched = JSON.parse(await ask(this.address(), "application/json", running.signal));
    } catch (error) {
      problem = error;
    }
    clearTimeout(timeout);
    if (this.#running !== running) return;
    this.#running = null;
    // The next turn first: what is done with this one may stop or start the feed.
    // A page takes a tenth of a reader's time, however much there is to read; but figures are never old for that alone.
    const pause = Math.min(Math.max(this.every, 9 * (performance.now() - begun)), LONGEST);
    if (!document.hidden) this.#timer = setTimeout(() => this.#turn(), pause);
    if (problem) this.failed(problem);
    else this.arrived(fetched);
  }
}
