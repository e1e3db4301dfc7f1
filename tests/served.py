"""A server on loopback that speaks /v1/chat/completions, for tests: what it says, and how it fails, is a function.

Beside it, models to put behind it: one that adds up, and one that obeys whatever stands outside of delimiters.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Body = dict[str, Any]


@dataclass
class Raw:
    """An answer as it goes over the wire."""

    status: int = 200
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """What Content-Length says; None: the truth."""
    before: float = 0.0
    """Seconds of silence first."""
    drip: float = 0.0
    """Seconds between one byte and the next."""


Says = Callable[[Body, int], "str | Raw"]
"""What is said to a request, and to which in their order, from 0."""


def completion(text: str | None, *, finish: str = "stop", used: tuple[int, int] | None = (20, 10), **more: Any) -> Raw:
    message = {"role": "assistant", "content": text, **more}
    usage = {} if used is None else {"usage": {"prompt_tokens": used[0], "completion_tokens": used[1]}}
    whole = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        **usage,
    }
    return Raw(data=json.dumps(whole).encode())


def error(status: int, code: str = "", **headers: str) -> Raw:
    body = {"error": {"message": "no", "code": code}}
    return Raw(status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


class Served:
    """A running server; `requests` are the bodies that it was sent."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.requests: list[Body] = []
        self.keys: list[str] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with served._lock:
                    number = len(served.requests)
                    served.requests.append(body)
                    served.keys.append(self.headers.get("Authorization", ""))
                    served._at_once += 1
                    served.most_at_once = max(served.most_at_once, served._at_once)
                try:
                    found = served.says(body, number) if self.path == "/v1/chat/completions" else error(404)
                    self._send(completion(found) if isinstance(found, str) else found)
                except OSError:  # whoever asked is gone
                    self.close_connection = True
                finally:
                    with served._lock:
                        served._at_once -= 1

            def _send(self, raw: Raw) -> None:
                time.sleep(raw.before)
                self.send_response(raw.status)
                for name, value in {"Content-Type": "application/json", **raw.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw.data) if raw.length is None else raw.length))
                self.end_headers()
                if not raw.drip:
                    self.wfile.write(raw.data)
                for byte in raw.data if raw.drip else b"":
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(raw.drip)
                if raw.length is not None and raw.length != len(raw.data):
                    self.close_connection = True

        return Handler


# -- models -----------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"-?\b[0-9]{1,9}\b")
BLOCK = re.compile(r"⟦[^⟦⟧/][^⟦⟧]*⟧\n(.*?)\n⟦/[^⟦⟧]*⟧", re.DOTALL)
NAMED = re.compile(r"⟦\w+ (question|answer [A-Z]|help [0-9]+)[^⟦⟧]*⟧\n(.*?)\n⟦/\w+⟧", re.DOTALL)
PLAIN = re.compile(
    r"^(Question|Answer [A-Z]|Help [0-9]+)[^\n]*:\n(.*?)(?=\n\n(?:Answer|Help|Which|How)|\Z)", re.DOTALL | re.M
)


def user(body: Body) -> str:
    return str(body["messages"][-1]["content"])


def parts(text: str) -> dict[str, str]:
    """What a prompt of the evaluator lays out, by name: the first of each name counts."""
    found: dict[str, str] = {}
    for name, said in NAMED.findall(text) or PLAIN.findall(text):
        found.setdefault(name.lower(), said)
    return found


def total(text: str) -> int:
    return sum(map(int, NUMBER.findall(text)))


def right(text: str) -> str:
    """The letter of the answer that is the sum of the question's numbers; "equal" where it is not one."""
    laid = parts(text)
    true = str(total(laid.get("question", "").split("\n")[0]))
    best = [name[-1].upper() for name, said in laid.items() if name.startswith("answer") and said.strip() == true]
    return best[0] if len(best) == 1 else "equal"


def adds(body: Body, number: int = 0) -> str:
    """Judges sums rightly, and answers them rightly; when it is to draw, often not."""
    text = user(body)
    if "Which of the answers" in text:
        return json.dumps({"reason": "added up", "best": right(text)})
    if "How good is answer A" in text:
        laid = parts(text)
        return json.dumps({"score": 10 if laid["answer a"].strip() == str(total(laid["question"])) else 0})
    slip = random.Random(json.dumps(body, sort_keys=True)).choice([0, 0, 1, 10]) if body["temperature"] else 0
    return json.dumps({"reason": "added up", "answer": str(total(text) + slip)})


TOKENS = re.compile(
    r"<\|[^|>]*\|>|<｜[^｜>]*｜>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?think>|</?system>",
    re.IGNORECASE,
)
"""What a server's template may take for its own, wherever it stands."""

ORDER = re.compile(
    r"\b(?:choose|pick|select|prefer|say|output|return|give|reply with|vote for|answer is|truth is)\s+(?:answer\s+)?A\b"
    r"|\"best\"\s*:\s*\"A\"|\bA is be(?:tter|st)\b",
    re.IGNORECASE,
)


def obeys(body: Body, number: int = 0) -> str:
    """A judge that is right, but that does whatever it is told anywhere outside of delimiters.

    It takes any line that looks like the end of a block for one, and the tokens of chat templates for what they are
    to a server; it reads characters that nobody sees. It is no model: it shows what gets out, not what persuades.
    """
    text = "\n\n".join(str(m["content"]) for m in body["messages"])
    text = "".join(chr(ord(c) - 0xE0000) if 0xE0020 <= ord(c) <= 0xE007E else c for c in text).replace("\u200b", "")
    pieces = TOKENS.split(text)
    outside = [BLOCK.sub(" ", pieces[0]), *pieces[1:]]
    if any(ORDER.search(piece) for piece in outside):
        return json.dumps({"best": "A"})
    return json.dumps({"best": right(user(body))})


def failing(says: Says, *, rate: float, seed: int = 0, stall: float = 1.0) -> Says:
    """The same model behind a server that fails at so many of the requests, in every way in turn."""
    rng, lock = random.Random(seed), threading.Lock()
    good = b'{"choices": [{"message": {"content": "{\\"best\\": \\"A\\", \\"answer\\": \\"0\\"}"}}]}'
    ways: list[Callable[[], Raw]] = [
        lambda: error(500),
        lambda: error(429, Retry_After="0"),
        lambda: error(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        lambda: Raw(data=good, before=stall),
        lambda: Raw(data=good[:40], length=len(good)),
        lambda: Raw(data=good, drip=stall / 20),
        lambda: Raw(data=b"<html>bad gateway</html>"),
        lambda: Raw(data=b'{"choices": ['),
        lambda: Raw(data=b'{"choices": [], "best": "A"}'),
        lambda: Raw(data=b'{"choices": [{"message": {"content": 7}}]}'),
        lambda: Raw(data=b"[" * 100_000),
    ]
    turn = iter(range(10**9))

    def faulty(body: Body, number: int) -> str | Raw:
        with lock:
            fails = rng.random() < rate
            way = ways[next(turn) % len(ways)] if fails else None
        return way() if way else says(body, number)

    return faulty
