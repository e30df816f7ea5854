"""The OpenAI Python SDK with less patience than its answer takes: it repeats the call, with a key or without."""

import os

from openai import OpenAI, Stream

client = OpenAI(timeout=1.0, max_retries=6)  # OPENAI_BASE_URL and OPENAI_API_KEY
if os.environ["KEYED"] == "yes":
    client._idempotency_header = "Idempotency-Key"

messages = [{"role": "user", "content": "Which moment loses viewers?"}]
answer = client.post(os.environ["CHAT_PATH"], body={"messages": messages}, cast_to=object)
print(f"json credits={answer['usage']['credits_used']}")

stream = client.post(
    os.environ["CHAT_PATH"],
    body={"messages": messages, "stream": True},
    cast_to=object,
    stream=True,
    stream_cls=Stream[object],
)
events = list(stream)
print(f"stream events={len(events)} credits={events[-1]['response']['usage']['credits_used']}")
