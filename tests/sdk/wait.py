"""Many calls at once by the OpenAI Python SDK, more than the organisation's window gives at once: they wait their turn."""

import os
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

client = OpenAI()  # OPENAI_BASE_URL and OPENAI_API_KEY
calls = int(os.environ["CALLS"])


def call(_):
    body = {"messages": [{"role": "user", "content": "Which moment loses viewers?"}]}
    return client.post(os.environ["CHAT_PATH"], body=body, cast_to=object)


with ThreadPoolExecutor(calls) as pool:
    answers = list(pool.map(call, range(calls)))
print(f"served={len(answers)}")
