// Many calls at once by the OpenAI JavaScript SDK, more than the organisation's window gives at once: they wait their turn.
import OpenAI from "openai";

const client = new OpenAI(); // OPENAI_BASE_URL and OPENAI_API_KEY
const body = { messages: [{ role: "user", content: "Which moment loses viewers?" }] };

const calls = Array.from({ length: Number(process.env.CALLS) }, () => client.post(process.env.CHAT_PATH, { body }));
const answers = await Promise.all(calls);
console.log(`served=${answers.length}`);
