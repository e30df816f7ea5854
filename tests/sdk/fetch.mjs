// Plain `fetch` against the gateway.
const url = process.env.OPENAI_BASE_URL + process.env.CHAT_PATH;
const headers = {
  authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
  "content-type": "application/json",
};
const ask = (body) => fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
const messages = [{ role: "user", content: "Which moment loses viewers?" }];

const answer = await (await ask({ messages })).json();
console.log(`json ${answer.status} credits=${answer.usage.credits_used}`);

const response = await ask({ messages, stream: true });
let text = "";
for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) text += chunk;
const data = text.split("\n").filter((line) => line.startsWith("data: "));
if (data.pop() !== "data: [DONE]") throw new Error("the stream did not end with [DONE]");
const last = JSON.parse(data.at(-1).slice("data: ".length));
console.log(`stream events=${data.length} last=${last.type} credits=${last.response.usage.credits_used}`);

const refused = await ask({});
const { error } = await refused.json();
console.log(`refused status=${refused.status} code=${error.code} param=${error.param}`);
