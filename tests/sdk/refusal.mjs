// Bodies of the sizes given, sent with a key that is none: does the refusal arrive? With `node:http`, as one body and in
// chunks, and with `fetch`. Each prints the status and code, or the failure.
import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const url = process.env.OPENAI_BASE_URL + process.env.CHAT_PATH;
const headers = { authorization: "Bearer mvgw_wrong_key", "content-type": "application/json" };
const timeout = () => AbortSignal.timeout(60_000);

function bodyOf(size) {
  const [head, tail] = ['{"messages":[{"role":"user","content":"', '"}]}'];
  return Buffer.from(head + "a".repeat(size - head.length - tail.length) + tail);
}

async function* chunks(body) {
  for (let at = 0; at < body.length; at += 16384) yield body.subarray(at, at + 16384);
}

async function read(request) {
  const [response] = await once(request, "response");
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return [response.statusCode, JSON.parse(text)];
}

const clients = {
  "node-http": (body) => {
    const fields = { ...headers, "content-length": body.length };
    const request = http.request(url, { method: "POST", headers: fields, signal: timeout(), agent: false });
    request.end(body);
    return read(request);
  },
  "node-http-chunked": (body) => {
    const request = http.request(url, { method: "POST", headers, signal: timeout(), agent: false });
    const answer = read(request);
    pipeline(Readable.from(chunks(body)), request).catch(() => {}); // `read` tells of it
    return answer;
  },
  fetch: async (body) => {
    const response = await fetch(url, { method: "POST", headers, body, signal: timeout() });
    return [response.status, await response.json()];
  },
};

for (const size of process.argv.slice(2).map(Number)) {
  for (const [client, send] of Object.entries(clients)) {
    try {
      const [status, answer] = await send(bodyOf(size));
      console.log(`${client} ${size} status=${status} code=${answer.error.code}`);
    } catch (error) {
      console.log(`${client} ${size} failed=${error.cause?.code ?? error.code ?? error.name}: ${error.message}`);
    }
  }
}
process.exit(0);
