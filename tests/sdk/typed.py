"""The OpenAI Python SDK's typed methods against the gateway, unmodified but for base URL and key."""

import json
import os

import openai
from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(max_retries=0)  # OPENAI_BASE_URL and OPENAI_API_KEY
ASKED = {"model": "mavera-1", "input": "Which moment loses viewers?"}
CHAT = {"model": "mavera-1", "messages": [{"role": "user", "content": "Which moment loses viewers?"}]}
TOOL = {
    "type": "function",
    "name": "find_brand",
    "description": "Finds a brand.",
    "parameters": {"type": "object", "properties": {"brand": {"type": "string"}}},
}


class Verdict(BaseModel):
    verdict: str
    score: int


answer = client.responses.create(**ASKED)
print("response", answer.status, bool(answer.output_text), f"credits={answer.usage.credits_used}")

kinds, text = [], ""
for event in client.responses.create(**ASKED, stream=True):
    kinds.append(event.type)
    text += event.delta if event.type == "response.output_text.delta" else ""
print("response stream", kinds[0], kinds[-1], text == answer.output_text)

with client.responses.stream(**ASKED) as stream:
    for _ in stream:
        pass
    print("response helper", stream.get_final_response().output_text == answer.output_text)

parsed = client.responses.parse(**ASKED, text_format=Verdict)
print("response format", parsed.output_parsed.verdict, parsed.output_parsed.score)

called = client.responses.create(**ASKED, tools=[TOOL]).output[0]
print("response tool", called.type, called.name, json.loads(called.arguments))

background = client.responses.create(**ASKED, background=True)
print("response background", background.status)

chat = client.chat.completions.create(**CHAT)
print("chat", chat.choices[0].finish_reason, bool(chat.choices[0].message.content))

chunks = list(client.chat.completions.create(**CHAT, stream=True))
said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
print("chat stream", said == chat.choices[0].message.content, chunks[-1].choices[0].finish_reason)

tool = {"type": "function", "function": {k: TOOL[k] for k in ("name", "description", "parameters")}}
made = client.chat.completions.create(**CHAT, tools=[tool]).choices[0].message.tool_calls[0]
print("chat tool", made.type, made.function.name, json.loads(made.function.arguments))


def refused(what, call):
    try:
        call()
    except openai.APIStatusError as error:
        print("refused", what, type(error).__name__, error.status_code, error.code, error.param)


refused("model", lambda: client.responses.create(model="gpt-5", input="x"))
refused("messages", lambda: client.chat.completions.create(model="mavera-1", messages=[]))
refused("key", lambda: client.with_options(api_key="mvgw_nobody").responses.create(**ASKED))
refused("route", lambda: client.post("/mave/chat", body={"message": "x"}, cast_to=object))
refused("path", lambda: client.models.list())
refused("dear", lambda: client.post("/personas", body={}, cast_to=object))
refused("max", lambda: client.responses.create(**ASKED, extra_headers={"x-credits-max": "4"}))
refused("500", lambda: client.responses.create(**ASKED, extra_body={"sim": "answer=500"}))
# Last: behind either of these nothing that costs is let through for a while.
refused("last", lambda: client.responses.create(**ASKED, extra_body={"sim": "answer=" + os.environ["LAST"]}))
