// The OpenAI JavaScript SDK, leaving a stream right at its end: behind `[DONE]`, and behind `response.completed`, where its
// caller breaks off, upon which the SDK aborts the request.
import OpenAI from "openai";

const client = new OpenAI(); // OPENAI_BASE_URL and OPENAI_API_KEY
const body = { messages: [{ role: "user", content: "Which moment loses viewers?" }], stream: true };
const stream = () => client.post(process.env.CHAT_PATH, { body, stream: true });
const verdict = (last) => (last === "response.completed" ? "ok" : `failed last=${last}`);

let last;
for await (const event of await stream()) last = event.type;
console.log("left-at=done", verdict(last));

for await (const event of await stream()) {
  last = event.type;
  if (last === "response.completed") break;
}
console.log("left-at=completed", verdict(last));
