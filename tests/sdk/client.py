"""The OpenAI Python SDK against the gateway: its generic `post`, because it has no method for video chat."""

import os

import openai
from openai import OpenAI, Stream

client = OpenAI()  # OPENAI_BASE_URL and OPENAI_API_KEY
path = os.environ["CHAT_PATH"]
messages = [{"role": "user", "content": "Which moment loses viewers?"}]

answer = client.post(path, body={"messages": messages}, cast_to=object)
print("json", answer["status"], f"credits={answer['usage']['credits_used']}")

stream = client.post(
    path,
    body={"messages": messages, "stream": True},
    cast_to=object,
    stream=True,
    stream_cls=Stream[object],
)
events = list(stream)
last = events[-1]
# The SDK keeps `[DONE]` to itself.
print(f"stream events={len(events)} last={last['type']} credits={last['response']['usage']['credits_used']}")

try:
    client.post(path, body={}, cast_to=object)
except openai.BadRequestError as error:
    print(f"refused status={error.status_code} code={error.code} param={error.param}")
