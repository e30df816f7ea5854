// The OpenAI JavaScript SDK's typed methods against the gateway, unmodified but for base URL and key.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 }); // OPENAI_BASE_URL and OPENAI_API_KEY
const asked = { model: "mavera-1", input: "Which moment loses viewers?" };
const chatOf = { model: "mavera-1", messages: [{ role: "user", content: "Which moment loses viewers?" }] };
const parameters = { type: "object", properties: { brand: { type: "string" } } };
const tool = { type: "function", name: "find_brand", description: "Finds a brand.", parameters };
const schema = {
  type: "object",
  properties: { verdict: { type: "string" }, score: { type: "integer" } },
  required: ["verdict", "score"],
  additionalProperties: false,
};

const answer = await client.responses.create(asked);
console.log("response", answer.status, answer.output_text !== "", `credits=${answer.usage.credits_used}`);

const kinds = [];
let text = "";
for await (const event of await client.responses.create({ ...asked, stream: true })) {
  kinds.push(event.type);
  if (event.type === "response.output_text.delta") text += event.delta;
}
console.log("response stream", kinds[0], kinds.at(-1), text === answer.output_text);

const stream = client.responses.stream(asked);
const last = await stream.finalResponse();
console.log("response helper", last.output[0].content[0].text === answer.output_text);

const format = { type: "json_schema", name: "verdict", strict: true, schema };
const parsed = await client.responses.parse({ ...asked, text: { format } });
console.log("response format", parsed.output_parsed.verdict, parsed.output_parsed.score);

const called = (await client.responses.create({ ...asked, tools: [tool] })).output[0];
console.log("response tool", called.type, called.name, JSON.stringify(JSON.parse(called.arguments)));

console.log("response background", (await client.responses.create({ ...asked, background: true })).status);

const chat = await client.chat.completions.create(chatOf);
console.log("chat", chat.choices[0].finish_reason, chat.choices[0].message.content !== "");

let said = "";
let finish;
for await (const chunk of await client.chat.completions.create({ ...chatOf, stream: true })) {
  said += chunk.choices[0]?.delta?.content ?? "";
  finish = chunk.choices[0]?.finish_reason ?? finish;
}
console.log("chat stream", said === chat.choices[0].message.content, finish);

const { type, ...of } = tool;
const made = await client.chat.completions.create({ ...chatOf, tools: [{ type, function: of }] });
const call = made.choices[0].message.tool_calls[0];
console.log("chat tool", call.type, call.function.name, JSON.stringify(JSON.parse(call.function.arguments)));

async function refused(what, promise) {
  try {
    await promise;
  } catch (error) {
    console.log("refused", what, error.constructor.name, error.status, error.code, error.param);
  }
}

await refused("model", client.responses.create({ model: "gpt-5", input: "x" }));
await refused("messages", client.chat.completions.create({ model: "mavera-1", messages: [] }));
await refused("key", client.withOptions({ apiKey: "mvgw_nobody" }).responses.create(asked));
await refused("route", client.post("/mave/chat", { body: { message: "x" } }));
await refused("path", client.models.list());
await refused("dear", client.post("/personas", { body: {} }));
await refused("max", client.responses.create(asked, { headers: { "x-credits-max": "4" } }));
await refused("500", client.responses.create({ ...asked, sim: "answer=500" }));
// Last: behind either of these nothing that costs is let through for a while.
await refused("last", client.responses.create({ ...asked, sim: `answer=${process.env.LAST}` }));
