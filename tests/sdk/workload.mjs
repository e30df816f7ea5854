// The OpenAI JavaScript SDK with a token that is replaced while it runs: read from its file for each call.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import OpenAI from "openai";

const client = new OpenAI({ apiKey: async () => (await readFile(process.env.TOKEN_FILE, "utf8")).trim() });
const body = { messages: [{ role: "user", content: "Which moment loses viewers?" }] };
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

for (let call = 0; call < 2; call += 1) {
  const answer = await client.post(process.env.CHAT_PATH, { body });
  console.log(`answered credits=${answer.usage.credits_used}`);
  await lines.next();
}
process.exit(0);
