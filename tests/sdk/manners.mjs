// How clients behave when a gateway refuses, breaks off or is late: how often each sends one POST, and what it waits for.
//
// A small server on loopback answers as it is told by the path; each client is as it comes, but for its base URL and key.
// Prints lines without times or ports; docs/clients.md has them. One request is one attempt.
import { once } from "node:events";
import http from "node:http";
import { Worker, isMainThread, workerData } from "node:worker_threads";

const STATUSES = {
  402: ["insufficient_credits", "budget_exceeded", "Team growth has used 1500 of 1500 credits of this month."],
  409: ["invalid_request_error", "idempotency_in_progress", "A call with this key is being answered."],
  429: ["rate_limit_error", "rate_limit_exceeded", "Team growth has used its 10 requests at once."],
  502: ["upstream_error", "upstream_protocol_error", "The Mavera API did not give a usable answer."],
  503: ["overloaded_error", "draining", "This gateway is shutting down."],
  504: ["upstream_error", "upstream_timeout", "The Mavera API did not answer within 120 seconds."],
};
const FIELDS = {
  "as-it-is": {},
  "retry-after=1": { "Retry-After": "1" },
  "x-should-retry=false": { "x-should-retry": "false" },
  "x-should-retry=true": { "x-should-retry": "true" },
};
const KEPT = "reset-of-kept-connection";
const FAULTS = ["reset", KEPT, "cut-in-json", "cut-in-stream", "own-timeout"];
const OFF = ["429", "503", "reset", "own-timeout"];
const PATH = "/video-analyses/va_1/chat";
const QUESTION = "Which moment loses viewers?";
const messages = [{ role: "user", content: QUESTION }];
const KEY = "mvgw_example_key";
const OWN_TIMEOUT = 900; // ms

const RESPONSE = { id: "resp_1", object: "response", status: "completed", output: [], usage: { credits_used: 1 } };
const COMPLETION = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "mavera-1",
  choices: [{ index: 0, message: { role: "assistant", content: "At 0:07." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
};
const EVENTS = [
  { type: "response.created", response: { id: "resp_1" } },
  { type: "response.output_text.delta", delta: "At 0:07." },
  { type: "response.completed", response: RESPONSE },
];
const CHUNKS = [
  { index: 0, delta: { role: "assistant", content: "At 0:07." }, finish_reason: null },
  { index: 0, delta: {}, finish_reason: "stop" },
].map((choice) => ({ ...COMPLETION, object: "chat.completion.chunk", usage: undefined, choices: [choice] }));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Servers that answer as the path says, `count` of them, and what they have seen of each client in each case. */
async function serve(count) {
  const cases = new Map();
  const used = new WeakSet(); // connections on which a request has come before
  const seen = (key) => {
    if (!cases.has(key)) cases.set(key, { attempts: [], end: undefined });
    return cases.get(key);
  };
  const whole = (response, status, fields, content) => {
    response.writeHead(status, { "content-type": "application/json", ...fields });
    response.end(JSON.stringify(content));
  };
  const refuse = (response, status, fields) => {
    const [type, code, message] = STATUSES[status];
    const error = { message, type, code, param: null };
    whole(response, status, { "x-gateway-error": code, "x-request-id": "r1", ...fields }, { error });
  };
  const handle = async (request, response) => {
    response.on("error", () => {});
    request.on("error", () => {});
    const [, client, name] = request.url.split("/");
    const kase = seen(`${client}/${name}`);
    kase.attempts.push({ at: performance.now(), fields: request.headers, kept: used.has(request.socket) });
    used.add(request.socket);
    const number = kase.attempts.length;
    for await (const _ of request);
    const sdk = request.url.includes("/chat/completions");
    const answer = () => whole(response, 200, {}, sdk ? COMPLETION : RESPONSE);
    const reset = () => request.socket.resetAndDestroy();
    const stream = (events, end) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const text = (data) => (sdk ? "" : `event: ${data.type}\n`) + `data: ${JSON.stringify(data)}\n\n`;
      response.write(events.map(text).join("") + end);
    };
    if (name === "reset") reset();
    else if (name === KEPT) number === 2 ? reset() : answer();
    else if (name === "cut-in-json") {
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      response.write('{"id":"resp_1",');
      await sleep(500);
      reset();
    } else if (name === "cut-in-stream") {
      stream((sdk ? CHUNKS : EVENTS).slice(0, 1), "");
      await sleep(500);
      reset();
    } else if (name === "own-timeout") {
      await sleep(2 * OWN_TIMEOUT);
      reset();
    } else if (name === "at-done") {
      stream(sdk ? CHUNKS : EVENTS, "data: [DONE]\n\n");
      kase.end = await Promise.race([
        new Promise((done) => response.on("close", () => done("closed"))),
        sleep(1500).then(() => "read-on"),
      ]);
      response.end();
    } else if (name.startsWith("once-")) {
      // Refused the first time only.
      number === 1 ? refuse(response, 429, { "Retry-After": name.slice("once-".length) }) : answer();
    } else {
      const [status, field = "as-it-is"] = decodeURIComponent(name).split("+");
      refuse(response, Number(status), FIELDS[field]);
    }
  };
  const servers = Array.from({ length: count }, () => http.createServer(handle).listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  return { seen, origins: servers.map((server) => `http://127.0.0.1:${server.address().port}`) };
}

// The clients. Each is made with a base URL and settings, and called once or more; a call reads the whole answer, and
// throws where there is none.
const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
const request = (stream) => ({ method: "POST", headers, body: JSON.stringify({ messages, stream }) });
const signal = (timeout) => (timeout ? { signal: AbortSignal.timeout(timeout) } : {});
const given = (name, value) => (value === undefined ? {} : { [name]: value });

const CLIENTS = {
  "openai-node": async (baseURL, { timeout, retries }) => {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL, apiKey: KEY, ...given("timeout", timeout), ...given("maxRetries", retries) });
    return async ({ stream = false, fields } = {}) => {
      const answer = await client.post(PATH, { body: { messages, stream }, stream, ...given("headers", fields) });
      if (stream) for await (const _ of answer);
    };
  },
  ai: async (baseURL, { timeout, retries }) => {
    const { generateText, streamText } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const model = createOpenAICompatible({ name: "mavera", baseURL, apiKey: KEY }).chatModel("mavera-1");
    return async ({ stream, fields } = {}) => {
      const settings = { model, prompt: QUESTION, ...given("maxRetries", retries), ...given("headers", fields) };
      if (timeout) settings.abortSignal = AbortSignal.timeout(timeout);
      if (!stream) return generateText(settings);
      const onError = () => {};
      return streamText({ ...settings, onError }).consumeStream({ onError });
    };
  },
  "langchain-js": async (baseURL, { timeout, retries }) => {
    const { ChatOpenAI } = await import("@langchain/openai");
    const more = { ...given("timeout", timeout), ...given("maxRetries", retries) };
    const model = new ChatOpenAI({ model: "mavera-1", apiKey: KEY, configuration: { baseURL }, ...more });
    return async ({ stream, fields } = {}) => {
      if (!stream) return model.invoke(QUESTION, fields ? { options: { headers: fields } } : {});
      for await (const _ of await model.stream(QUESTION));
    };
  },
  undici: async (baseURL, { timeout }) => {
    const { Agent, request: send } = await import("undici");
    const dispatcher = new Agent();
    return async ({ stream = false } = {}) => {
      const answer = await send(baseURL + PATH, { ...request(stream), dispatcher, ...signal(timeout) });
      await answer.body.text();
    };
  },
  fetch: async (baseURL, { timeout }) => {
    return async ({ stream = false } = {}) => {
      const answer = await fetch(baseURL + PATH, { ...request(stream), ...signal(timeout) });
      await answer.text();
    };
  },
};
const SDKS = ["openai-node", "ai", "langchain-js"];

/** Runs a case: `times` calls of a new client, which may fail. */
async function run(base, client, name, { times = 1, retries, ...call } = {}) {
  const timeout = name === "own-timeout" ? OWN_TIMEOUT : undefined;
  const made = await CLIENTS[client](base, { timeout, retries });
  try {
    for (let time = 0; time < times; time++) {
      if (time > 0) await sleep(200); // for the connection to be idle again
      await made(call);
    }
  } catch {
    // Whatever a client calls a failure.
  }
}

/** What counts attempts, as [name, label in the path, call]. */
function counted(client) {
  const all = Object.keys(STATUSES).flatMap((status) => Object.keys(FIELDS).map((field) => [`${status}+${field}`, "", {}]));
  for (const fault of FAULTS) if (fault !== KEPT) all.push([fault, "", { stream: fault === "cut-in-stream" }]);
  if (SDKS.includes(client)) {
    all.push(["503", "given", { fields: { "Idempotency-Key": '"k1"' } }]);
    for (const name of OFF) all.push([name, "off", { retries: 0 }]);
  }
  return all;
}

/** All of those at once. */
function runCounted(client, origin) {
  return Promise.all(
    counted(client).map(([name, label, call]) =>
      run(`${origin}/${client}${label && `~${label}`}/${encodeURIComponent(name)}/api/v1`, client, name, call),
    ),
  );
}

async function main() {
  const names = Object.keys(CLIENTS);
  const { seen, origins } = await serve(1 + names.length);
  const origin = origins.shift();
  const of = (client, name, label) => seen(`${client}${label ? `~${label}` : ""}/${encodeURIComponent(name)}`);
  const begun = performance.now();
  const long = {};
  const running = [];
  // Loaded one after the other, so that no call waits for another client's modules.
  for (const [client, make] of Object.entries(CLIENTS)) await make(origin, {});
  for (const [number, client] of names.entries()) {
    running.push(run(`${origin}/${client}/once-3/api/v1`, client, "once-3"));
    // At a server of its own, where no other connection is to be had.
    running.push(run(`${origins[number]}/${client}/${KEPT}/api/v1`, client, KEPT, { times: 2 }));
    run(`${origin}/${client}/once-3600/api/v1`, client, "once-3600").then(() => (long[client] = "ended"));
    if (SDKS.includes(client)) running.push(run(`${origin}/${client}/at-done/api/v1`, client, "at-done", { stream: true }));
    if (client !== "langchain-js") running.push(runCounted(client, origin));
  }
  // LangChain's waits add up to two minutes: its attempts are counted where a second or more passes in a 25th of it.
  const quick = new Worker(new URL(import.meta.url), { workerData: ["langchain-js", origin] });
  running.push(new Promise((done, failed) => quick.on("exit", done).on("error", failed)));
  await Promise.all(running);
  await sleep(Math.max(0, 8000 - (performance.now() - begun)));

  const attempts = (client, name, label) => {
    const all = of(client, name, label).attempts;
    if (name !== KEPT) return all.length;
    // The first call was to make a connection; the second was sent on one that is kept.
    return all[1].kept ? all.length - 1 : "not-kept";
  };
  for (const client of names) {
    const say = (text) => console.log(`${client} | ${text}`);
    for (const field of Object.keys(FIELDS)) {
      const counts = Object.keys(STATUSES).map((status) => `${status}:${attempts(client, `${status}+${field}`)}`);
      say(`${field} ${counts.join(" ")}`);
    }
    say(FAULTS.map((fault) => `${fault}:${attempts(client, fault)}`).join(" "));
    const [first, second] = of(client, "once-3").attempts;
    const waits = !second ? "not-repeated" : second.at - first.at >= 2900 ? "waited-for" : "not-waited-for";
    const again = of(client, "once-3600").attempts.length > 1;
    const hour = again ? "repeated-sooner" : long[client] ? "not-repeated" : "still-waiting";
    say(`retry-after=3:${waits} retry-after=3600:${hour}`);
    if (!SDKS.includes(client)) continue;
    const repeats = of(client, "503+as-it-is").attempts.map(({ fields }) => fields);
    const told = Object.keys(repeats[0]).filter((name) => name.startsWith("x-") && name.includes("timeout"));
    say(`tells-its-timeout:${told.map((name) => `${name}=${repeats[0][name]}`).join(",") || "no"}`);
    const fields = new Set(repeats.slice(0, 2).flatMap(Object.keys));
    const differ = [...fields].filter((name) => repeats[0][name] !== repeats[1][name]).sort().join(",") || "nothing";
    const own = "idempotency-key" in repeats[0] ? "sent" : "not-sent";
    const keys = new Set(of(client, "503", "given").attempts.map(({ fields }) => fields["idempotency-key"]));
    const kept = keys.size === 1 && keys.has('"k1"') ? "kept" : "lost";
    say(`repeats-differ-in:${differ} idempotency-key:${own} given:${kept}`);
    say(`repeats-off ${OFF.map((name) => `${name}:${attempts(client, name, "off")}`).join(" ")}`);
    say(`at-done:${of(client, "at-done").end}`);
  }
  const { default: OpenAI } = await import("openai");
  const { ChatOpenAI } = await import("@langchain/openai");
  const { timeout } = new OpenAI({ baseURL: origin, apiKey: KEY });
  console.log(`openai-node | default-timeout ${timeout / 1000}s`);
  // Its client is there when it has been used.
  const configuration = { baseURL: `${origin}/langchain-js~timeout/402/api/v1` };
  const model = new ChatOpenAI({ model: "mavera-1", apiKey: KEY, configuration });
  await model.invoke(QUESTION).catch(() => {});
  console.log(`langchain-js | default-timeout ${model.completions.client.timeout / 1000}s`);
}

if (isMainThread) {
  await main();
  process.exit(0); // some clients are still asleep, for an hour
} else {
  const unhurried = globalThis.setTimeout;
  globalThis.setTimeout = (call, ms, ...rest) => unhurried(call, ms >= 1000 ? ms / 25 : ms, ...rest);
  await runCounted(...workerData);
  process.exit(0);
}
