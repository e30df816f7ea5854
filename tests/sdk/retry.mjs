// The OpenAI JavaScript SDK with less patience than its answer takes: it repeats the call, with a key or without.
import OpenAI from "openai";

class Keyed extends OpenAI {
  idempotencyHeader = "Idempotency-Key";
}
const Client = process.env.KEYED === "yes" ? Keyed : OpenAI;
const client = new Client({ timeout: 1000, maxRetries: 6 }); // OPENAI_BASE_URL and OPENAI_API_KEY
const messages = [{ role: "user", content: "Which moment loses viewers?" }];

const answer = await client.post(process.env.CHAT_PATH, { body: { messages } });
console.log(`json credits=${answer.usage.credits_used}`);

const stream = await client.post(process.env.CHAT_PATH, { body: { messages, stream: true }, stream: true });
const events = [];
for await (const event of stream) events.push(event);
console.log(`stream events=${events.length} credits=${events.at(-1).response.usage.credits_used}`);
