"""The OpenAI Python SDK, leaving a stream right at its end: behind `[DONE]`, where it closes the connection by itself, and
behind `response.completed`, where its caller does."""

import os

from openai import OpenAI, Stream

client = OpenAI()  # OPENAI_BASE_URL and OPENAI_API_KEY


def stream():
    return client.post(
        os.environ["CHAT_PATH"],
        body={"messages": [{"role": "user", "content": "Which moment loses viewers?"}], "stream": True},
        cast_to=object,
        stream=True,
        stream_cls=Stream[object],
    )


last = None
for event in stream():
    last = event["type"]
print("left-at=done", "ok" if last == "response.completed" else f"failed last={last}")

with stream() as events:
    for event in events:
        last = event["type"]
        if last == "response.completed":
            break
print("left-at=completed", "ok" if last == "response.completed" else f"failed last={last}")
