// Bodies of the sizes given, sent with a key that is none, one after the other on one connection of HTTP/2: does each refusal
// arrive? Prints the status and code, or the failure.
import http2 from "node:http2";

const url = new URL(process.env.OPENAI_BASE_URL + process.env.CHAT_PATH);
// More than the ten megabytes that Node keeps of a session: it would end a larger body by itself.
const session = http2.connect(url.origin, { maxSessionMemory: 100 });
session.on("error", () => {});

function post(size) {
  return new Promise((resolve) => {
    const request = session.request({ ":method": "POST", ":path": url.pathname, authorization: "Bearer mvgw_wrong_key" });
    let status;
    let said = "";
    request.setEncoding("utf8");
    request.on("response", (fields) => (status = fields[":status"]));
    request.on("data", (text) => (said += text));
    request.on("error", (error) => resolve(`failed=${error.code}`));
    request.on("close", () => resolve(`status=${status} code=${said && JSON.parse(said).error.code}`));
    request.end(Buffer.alloc(size, "a"));
  });
}

for (const size of process.argv.slice(2)) {
  console.log(`node-http2 ${size} ${await post(Number(size))}`);
}
session.close();
