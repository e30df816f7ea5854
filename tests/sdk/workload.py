"""The OpenAI Python SDK with a token that is replaced while it runs: read from its file for each call."""

import os
import sys
from pathlib import Path

from openai import OpenAI

client = OpenAI(api_key=lambda: Path(os.environ["TOKEN_FILE"]).read_text().strip())
body = {"messages": [{"role": "user", "content": "Which moment loses viewers?"}]}

for _ in range(2):
    answer = client.post(os.environ["CHAT_PATH"], body=body, cast_to=object)
    print(f"answered credits={answer['usage']['credits_used']}", flush=True)
    sys.stdin.readline()
