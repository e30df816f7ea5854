"""Bodies of the sizes given, sent with a key that is none: does the refusal arrive? With http.client, as one body and in
chunks, and with requests. Each prints the status and code, or the failure."""

import http.client
import json
import os
import sys
from urllib.parse import urlsplit

import requests

URL = os.environ["OPENAI_BASE_URL"] + os.environ["CHAT_PATH"]
FIELDS = {"Authorization": "Bearer mvgw_wrong_key", "Content-Type": "application/json"}
TIMEOUT = 60


def body_of(size):
    head, tail = b'{"messages":[{"role":"user","content":"', b'"}]}'
    return head + b"a" * (size - len(head) - len(tail)) + tail


def by_http_client(body):
    parts = urlsplit(URL)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request("POST", parts.path, body=body, headers=FIELDS)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def chunked(body):
    return by_http_client(body[at : at + 16384] for at in range(0, len(body), 16384))


def by_requests(body):
    response = requests.post(URL, data=body, headers=FIELDS, timeout=TIMEOUT)
    return response.status_code, response.json()


CLIENTS = {"http.client": by_http_client, "http.client-chunked": chunked, "requests": by_requests}

for size in map(int, sys.argv[1:]):
    for client, send in CLIENTS.items():
        try:
            status, answer = send(body_of(size))
            print(f"{client} {size} status={status} code={answer['error']['code']}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"{client} {size} failed={type(error).__name__}: {error}")
