// The OpenAI JavaScript SDK against the gateway: its generic `post`, because it has no method for video
// chat.
import OpenAI from "openai";

const client = new OpenAI(); // OPENAI_BASE_URL and OPENAI_API_KEY
const path = process.env.CHAT_PATH;
const messages = [{ role: "user", content: "Which moment loses viewers?" }];

const answer = await client.post(path, { body: { messages } });
console.log(`json ${answer.status} credits=${answer.usage.credits_used}`);

const stream = await client.post(path, { body: { messages, stream: true }, stream: true });
const events = [];
for await (const event of stream) events.push(event);
const last = events.at(-1);
// The SDK keeps `[DONE]` to itself.
console.log(`stream events=${events.length} last=${last.type} credits=${last.response.usage.credits_used}`);

try {
  await client.post(path, { body: {} });
} catch (error) {
  console.log(`refused status=${error.status} code=${error.code} param=${error.param}`);
}
