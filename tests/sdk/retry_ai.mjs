// The `ai` package with less patience than its answer takes. It does not repeat what it has given up itself, so its caller
// does, with the key of the call; and without one, which is another call.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const baseURL = process.env.OPENAI_BASE_URL;
// It knows one path, which is not that of a chat about a video.
const send = (_, options) => fetch(baseURL + process.env.CHAT_PATH, options);
const provider = { name: "mavera", baseURL, apiKey: process.env.OPENAI_API_KEY, fetch: send };
const model = createOpenAICompatible(provider).chatModel("mavera-1");
const headers = process.env.KEYED === "yes" ? { "Idempotency-Key": crypto.randomUUID() } : {};

let attempts = 0;
for (;;) {
  attempts += 1;
  try {
    const abortSignal = AbortSignal.timeout(1000);
    const { text } = await generateText({ model, prompt: "Which moment loses viewers?", headers, abortSignal });
    console.log(`text=${text.length > 0} attempts=${attempts}`);
    break;
  } catch (error) {
    if (attempts === 6 || error.name !== "TimeoutError") throw error;
    if (process.env.KEYED !== "yes") {
      console.log("gave up");
      break;
    }
  }
}
