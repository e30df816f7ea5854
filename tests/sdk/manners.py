"""How clients behave when a gateway refuses, breaks off or is late: how often each sends one POST, and what it waits for.

A small server on loopback answers as it is told by the path; each client is as it comes, but for its base URL and key.
Prints lines without times or ports; docs/clients.md has them. One request is one attempt.
"""

import asyncio
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import requests
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream

STATUSES = {
    402: ("insufficient_credits", "budget_exceeded", "Team growth has used 1500 of 1500 credits of this month."),
    409: ("invalid_request_error", "idempotency_in_progress", "A call with this key is being answered."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Team growth has used its 10 requests at once."),
    502: ("upstream_error", "upstream_protocol_error", "The Mavera API did not give a usable answer."),
    503: ("overloaded_error", "draining", "This gateway is shutting down."),
    504: ("upstream_error", "upstream_timeout", "The Mavera API did not answer within 120 seconds."),
}
FIELDS = {
    "as-it-is": {},
    "retry-after=1": {"Retry-After": "1"},
    "x-should-retry=false": {"x-should-retry": "false"},
    "x-should-retry=true": {"x-should-retry": "true"},
}
FAULTS = ("reset", "reset-of-kept-connection", "cut-in-json", "cut-in-stream", "own-timeout")
PATH = "/video-analyses/va_1/chat"
ASK = [{"role": "user", "content": "Which moment loses viewers?"}]
KEY = "mvgw_example_key"
OWN_TIMEOUT = 1.0

RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "usage": {"credits_used": 1}}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "mavera-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "At 0:07."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
EVENTS = [
    ("response.created", {"type": "response.created", "response": {"id": "resp_1"}}),
    ("response.output_text.delta", {"type": "response.output_text.delta", "delta": "At 0:07."}),
    ("response.completed", {"type": "response.completed", "response": RESPONSE}),
]
CHUNKS = [
    (None, {**COMPLETION, "object": "chat.completion.chunk", "usage": None, "choices": [choice]})
    for choice in (
        {"index": 0, "delta": {"role": "assistant", "content": "At 0:07."}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    )
]


class Case:
    """What the server has seen of one client in one case."""

    def __init__(self):
        self.attempts = []  # (time, header fields, peer)
        self.end = None  # how a stream's end went: the client closed, or the server came to its end, and when


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        _, client, name, _ = self.path.split("/", 3)
        case = self.server.cases[client, name]
        fields = {field.lower(): value for field, value in self.headers.items()}
        case.attempts.append((time.monotonic(), fields, self.client_address))
        number = len(case.attempts)
        if name == "reset":
            self.reset()
        elif name == "reset-of-kept-connection":
            if number == 2:
                self.reset()
            else:
                self.answer()
        elif name == "cut-in-json":
            self.head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
            self.write(b'{"id":"resp_1",')
            time.sleep(0.5)
            self.reset()
        elif name == "cut-in-stream":
            self.stream(whole=False)
            time.sleep(0.5)
            self.reset()
        elif name == "own-timeout":
            time.sleep(2 * OWN_TIMEOUT)
            self.reset()
        elif name == "at-done":
            self.stream(whole=True)
            closed, _, _ = select.select([self.connection], [], [], 1.5)
            case.end = ("closed" if closed else "read on", time.monotonic())
            if closed:
                self.reset()
            else:
                self.write(b"0\r\n\r\n")
        elif name.startswith("once-"):
            # Refused the first time only.
            if number == 1:
                self.refuse(429, {"Retry-After": name.removeprefix("once-")})
            else:
                self.answer()
        else:
            status, _, field = name.partition("+")
            self.refuse(int(status), FIELDS[field or "as-it-is"])

    def head(self, status, fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, data):
        self.wfile.write(data)
        self.wfile.flush()

    def whole(self, status, fields, content):
        body = json.dumps(content).encode()
        self.head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields})
        self.write(body)

    def answer(self):
        self.whole(200, {}, COMPLETION if "/chat/completions" in self.path else RESPONSE)

    def refuse(self, status, fields):
        kind, code, message = STATUSES[status]
        error = {"message": message, "type": kind, "code": code, "param": None}
        self.whole(status, {"x-gateway-error": code, "x-request-id": "r1", **fields}, {"error": error})

    def stream(self, whole):
        self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        events = CHUNKS if "/chat/completions" in self.path else EVENTS
        text = "".join(
            (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"
            for name, data in (events if whole else events[:1])
        )
        data = (text + ("data: [DONE]\n\n" if whole else "")).encode()
        self.write(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self):
        """The connection is reset, without a word more."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.to_reset.add(self.connection)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cases = defaultdict(Case)
        self.to_reset = set()

    def shutdown_request(self, request):
        if request in self.to_reset:
            self.to_reset.discard(request)
            request.close()  # not shut down before, which would end it in order
        else:
            super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # a client that has left


# The clients. Each is made with a base URL, and a number of seconds or None, and called once or more; a call reads the
# whole answer, and raises where there is none.


class OpenAIPython:
    name = "openai-python"
    is_sdk = True

    def __init__(self, base, timeout=None, retries=None, **more):
        more |= {} if timeout is None else {"timeout": timeout}
        more |= {} if retries is None else {"max_retries": retries}
        self.client = OpenAI(base_url=base, api_key=KEY, **more)

    def call(self, stream=False, fields=None):
        options = {"headers": fields} if fields else {}
        body = {"messages": ASK, "stream": stream}
        if stream:
            events = self.client.post(PATH, body=body, cast_to=object, stream=True, stream_cls=Stream[object])
            for _ in events:
                pass
        else:
            self.client.post(PATH, body=body, cast_to=object, options=options)


class OpenAIPythonAsync:
    """Beside the other only at the end of a stream, where it is another one."""

    name = "openai-python-async"
    is_sdk = True

    def __init__(self, base):
        self.base = base

    def call(self, stream):
        async def read():
            client = AsyncOpenAI(base_url=self.base, api_key=KEY)
            body = {"messages": ASK, "stream": stream}
            events = await client.post(
                PATH, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
            async for _ in events:
                pass

        asyncio.run(read())


class LangChain:
    name = "langchain-python"
    is_sdk = True

    def __init__(self, base, timeout=None, retries=None):
        more = {} if timeout is None else {"timeout": timeout}
        more |= {} if retries is None else {"max_retries": retries}
        self.model = ChatOpenAI(model="mavera-1", base_url=base, api_key=KEY, **more)

    def call(self, stream=False, fields=None):
        more = {"extra_headers": fields} if fields else {}
        if stream:
            for _ in self.model.stream(ASK[0]["content"]):
                pass
        else:
            self.model.invoke(ASK[0]["content"], **more)


def request(base, stream):
    body = json.dumps({"messages": ASK, "stream": stream})
    return base + PATH, body, {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


class Httpx:
    name = "httpx"
    is_sdk = False

    def __init__(self, base, timeout=None):
        self.base = base
        self.client = httpx.Client(**({} if timeout is None else {"timeout": timeout}))

    def call(self, stream=False):
        url, body, fields = request(self.base, stream)
        with self.client.stream("POST", url, content=body, headers=fields) as response:
            for _ in response.iter_bytes():
                pass
            response.raise_for_status()


class Aiohttp:
    name = "aiohttp"
    is_sdk = False

    def __init__(self, base, timeout=None):
        self.base = base
        self.loop = asyncio.new_event_loop()
        more = {} if timeout is None else {"timeout": aiohttp.ClientTimeout(total=timeout)}

        async def open_session():
            return aiohttp.ClientSession(**more)

        self.session = self.loop.run_until_complete(open_session())

    def call(self, stream=False):
        url, body, fields = request(self.base, stream)

        async def read():
            async with self.session.post(url, data=body, headers=fields) as response:
                async for _ in response.content.iter_any():
                    pass
                response.raise_for_status()

        self.loop.run_until_complete(read())

    def close(self):
        self.loop.run_until_complete(self.session.close())
        self.loop.close()


class Requests:
    name = "requests"
    is_sdk = False

    def __init__(self, base, timeout=None):
        self.base = base
        self.timeout = timeout
        self.session = requests.Session()

    def call(self, stream=False):
        url, body, fields = request(self.base, stream)
        with self.session.post(url, data=body, headers=fields, stream=stream, timeout=self.timeout) as response:
            for _ in response.iter_content(None):
                pass
            response.raise_for_status()


class HttpClient:
    name = "http.client"
    is_sdk = False

    def __init__(self, base, timeout=None):
        place, self.base = base.removeprefix("http://").split("/", 1)
        more = {} if timeout is None else {"timeout": timeout}
        self.connection = http.client.HTTPConnection(place, **more)

    def call(self, stream=False):
        path, body, fields = request("/" + self.base, stream)
        self.connection.request("POST", path, body=body, headers=fields)
        response = self.connection.getresponse()
        response.read()
        if response.status != 200:
            raise OSError(response.status)


class Curl:
    is_sdk = False
    options = ()
    process = None

    def __init__(self, base, timeout=None):
        self.base = base
        self.timeout = ["--max-time", str(timeout)] if timeout else []

    def call(self, stream=False, times=1):
        url, body, fields = request(self.base, stream)
        command = ["curl", "-sSN", *self.options, *self.timeout, "-d", body]
        for name, value in fields.items():
            command += ["-H", f"{name}: {value}"]
        command += [url] * times
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as self.process:
            if self.process.wait() != 0:
                raise OSError(self.process.returncode)

    def stop(self):
        self.process.kill()


class CurlPlain(Curl):
    name = "curl"


class CurlRetry(Curl):
    name = "curl --retry 2"
    options = ("--retry", "2")


class CurlRetryAll(Curl):
    name = "curl --retry 2 --retry-all-errors"
    options = ("--retry", "2", "--retry-all-errors")


class CurlFailRetryAll(Curl):
    name = "curl --fail --retry 2 --retry-all-errors"
    options = ("--fail", "--retry", "2", "--retry-all-errors")


CLIENTS = [OpenAIPython, LangChain, Httpx, Aiohttp, Requests, HttpClient]
CLIENTS += [CurlPlain, CurlRetry, CurlRetryAll, CurlFailRetryAll]


class Desk:
    """Runs cases beside one another, each in a thread of its own."""

    def __init__(self):
        self.server = Server()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.pool = ThreadPoolExecutor(400)
        self.running = {}
        self.processes = set()

    def start(self, make, name, label=None, times=1, **call):
        """Starts a case: `times` calls of a new client, which may fail. `label` is its name in the path if another."""
        which = make.name.replace(" ", "_") + (f"~{label}" if label else "")
        base = f"http://127.0.0.1:{self.server.server_address[1]}/{which}/{name}/api/v1"
        more = {"timeout": OWN_TIMEOUT} if name == "own-timeout" else {}
        if "retries" in call:
            more["retries"] = call.pop("retries")

        def run():
            client = make(base, **more)
            if isinstance(client, Curl):
                self.processes.add(client)
            try:
                if times > 1 and issubclass(make, Curl):
                    client.call(times=times)  # one process, one connection
                else:
                    for _ in range(times):
                        client.call(**call)
            except Exception as error:  # whatever a client calls a failure
                return error
            finally:
                self.processes.discard(client)
                if hasattr(client, "close"):
                    client.close()
            return None

        future = self.pool.submit(run)
        case = self.server.cases[which, name]
        self.running[make.name, name, label] = (future, case)

    def end(self, make, name, label=None, within=None):
        """The case when its calls have ended, and when they did; or as it is, if they do not end in time."""
        future, case = self.running[make.name, name, label]
        try:
            future.result(within)
        except TimeoutError:
            pass
        return case, future.done()

    def attempts(self, make, name, label=None):
        case, _ = self.end(make, name, label)
        if name == "reset-of-kept-connection":
            # The first call made the connection; the second was sent on it.
            first, second = case.attempts[:2]
            return len(case.attempts) - 1 if first[2] == second[2] else "not-kept"
        return len(case.attempts)


def seconds(value):
    return "none" if value is None else f"{value:g}s"


def default_timeouts():
    """As the installed clients say it themselves."""
    openai = OpenAI(base_url="http://127.0.0.1:9", api_key=KEY).timeout
    model = ChatOpenAI(model="mavera-1", base_url="http://127.0.0.1:9", api_key=KEY)
    inner = model.root_client._client.timeout
    plain = httpx.Client().timeout
    session = aiohttp.client.DEFAULT_TIMEOUT
    yield "openai-python", f"connect={seconds(openai.connect)} read={seconds(openai.read)}"
    chunk = seconds(model.stream_chunk_timeout)
    yield "langchain-python", f"connect={seconds(inner.connect)} read={seconds(inner.read)} async-chunk={chunk}"
    yield "httpx", f"connect={seconds(plain.connect)} read={seconds(plain.read)}"
    yield "aiohttp", f"connect={seconds(session.sock_connect)} total={seconds(session.total)}"
    yield "http.client", seconds(socket.getdefaulttimeout())


def main(desk):
    begun = time.monotonic()
    for make in CLIENTS:
        for wait in (3, 3600):
            desk.start(make, f"once-{wait}")
        for status in STATUSES:
            for field in FIELDS:
                desk.start(make, f"{status}+{field}")
        for fault in FAULTS:
            times = 2 if fault == "reset-of-kept-connection" else 1
            desk.start(make, fault, times=times, stream=fault == "cut-in-stream")
        if make.is_sdk:
            desk.start(make, "at-done", stream=True)
            desk.start(make, "503", label="given", fields={"Idempotency-Key": '"k1"'})
            for name in ("429", "503", "reset", "own-timeout"):
                desk.start(make, name, label="off", retries=0)
    desk.start(OpenAIPythonAsync, "at-done", stream=True)

    for make in CLIENTS:
        for field in FIELDS:
            counts = " ".join(f"{status}:{desk.attempts(make, f'{status}+{field}')}" for status in STATUSES)
            print(f"{make.name} | {field} {counts}")
        print(f"{make.name} | " + " ".join(f"{fault}:{desk.attempts(make, fault)}" for fault in FAULTS))

        told = desk.end(make, "once-3")[0].attempts
        waits = "not-repeated" if len(told) == 1 else "waited-for" if told[1][0] - told[0][0] >= 2.9 else "not-waited-for"
        case, ended = desk.end(make, "once-3600", within=max(0, begun + 12 - time.monotonic()))
        long = "repeated-sooner" if len(case.attempts) > 1 else "not-repeated" if ended else "still-waiting"
        print(f"{make.name} | retry-after=3:{waits} retry-after=3600:{long}")

        if make.is_sdk:
            attempts = [fields for _, fields, _ in desk.end(make, "503+as-it-is")[0].attempts]
            told = [f"{name}={value}" for name, value in attempts[0].items() if name.startswith("x-") and "timeout" in name]
            print(f"{make.name} | tells-its-timeout:{','.join(told) or 'no'}")
            differ = sorted(name for name in attempts[0] | attempts[1] if attempts[0].get(name) != attempts[1].get(name))
            own = "sent" if "idempotency-key" in attempts[0] else "not-sent"
            given = {fields.get("idempotency-key") for _, fields, _ in desk.end(make, "503", "given")[0].attempts}
            kept = "kept" if given == {'"k1"'} else "lost"
            print(f"{make.name} | repeats-differ-in:{','.join(differ) or 'nothing'} idempotency-key:{own} given:{kept}")
            off = " ".join(f"{name}:{desk.attempts(make, name, 'off')}" for name in ("429", "503", "reset", "own-timeout"))
            print(f"{make.name} | repeats-off {off}")
            print(f"{make.name} | at-done:{at_done(desk, make)}")
    print(f"{OpenAIPythonAsync.name} | at-done:{at_done(desk, OpenAIPythonAsync)}")
    for name, timeouts in default_timeouts():
        print(f"{name} | default-timeout {timeouts}")


def at_done(desk, make):
    how, _ = desk.end(make, "at-done")[0].end
    return how.replace(" ", "-")


if __name__ == "__main__":
    desk, failed = Desk(), 1
    try:
        main(desk)
        failed = 0
    except Exception:
        traceback.print_exc()
    # Some clients are still asleep, for an hour.
    for client in list(desk.processes):
        client.stop()
    sys.stdout.flush()
    os._exit(failed)
