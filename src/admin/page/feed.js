// Fetching figures again and again: one request on the way at a time, none while nobody looks, and a
// failure told apart by what can be done about it.

const TIMEOUT = 5000;
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

async function fetchJson(address, signal) {
  const headers = { accept: "application/json" };
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
  let answer = null;
  try {
    answer = JSON.parse(body);
  } catch {
    // Told below: what is not JSON is not from the gateway.
  }
  if (response.ok && answer) return answer;
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

  // `address()` is asked before each fetch; `every` is a number of milliseconds, or null to fetch once.
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
    let fetched, problem;
    try {
      fetched = await fetchJson(this.address(), running.signal);
    } catch (error) {
      problem = error;
    }
    clearTimeout(timeout);
    if (this.#running !== running) return;
    this.#running = null;
    // The next turn first: what is done with this one may stop or start the feed.
    if (this.every !== null && !document.hidden) this.#timer = setTimeout(() => this.#turn(), this.every);
    if (problem) this.failed(problem);
    else this.arrived(fetched);
  }
}
