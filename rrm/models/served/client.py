"""Puts questions to a server: many at once, each until it is answered, none twice, and none beyond the budget."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rrm.errors import PlanError, RrmError, Unfinished
from rrm.models.served.attempt import Got, Lost, Refused, attempt
from rrm.models.served.ledger import Ledger, Reply, Wait
from rrm.models.served.settings import Form, ServedSettings, key_of, request

if TYPE_CHECKING:
    import httpx

LONGEST_WAIT = 60.0
PATIENCE = 600.0
"""Seconds that a server may ask to be left alone; one that asks for more has failed."""
OVERHEAD = 64
"""Tokens that a server may add to a request, as its template does."""
SECRET = "‹key›"


class Question(NamedTuple):
    """What a model is asked."""

    messages: tuple[tuple[str, str], ...]
    """Role and text."""
    schema: dict[str, Any] | None
    """What the JSON of the reply should look like; None: a bare text is wanted."""
    temperature: float
    draw: int | None = None
    """Which sample of the same question: the seed that is sent."""


class Failed(NamedTuple):
    """The server gave no reply, whatever was tried."""

    words: str
    request: bool = False
    """Whether it is this request that it does not take."""


@dataclass(frozen=True)
class Clock:
    """Time, and the chance in waiting; tests bring their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random  # no result depends on how long was waited


def ask(
    settings: ServedSettings, questions: Sequence[Question], folder: Path | None, clock: Clock | None = None
) -> list[Reply | Failed]:
    """What is said to each question, in their order: from the run's folder, as far as it was asked there before.

    Raises Unfinished where the budget does not allow one more request, or the server keeps failing; PlanError where it
    does not take the key, or knows no such model.
    """
    if not questions:
        return []
    distinct = list(dict.fromkeys(map(_canonical, questions)))
    by_text = {_canonical(question): question for question in questions}
    with Ledger.open(folder) as ledger:
        session = _Session(settings, ledger, clock or Clock(), key_of(settings))
        try:
            found = _finished(session.all([by_text[text] for text in distinct]))
        finally:
            if session.asked:  # what nobody asked for is not written, and what was said is used from here on
                ledger.flush()
    said = dict(zip(distinct, found, strict=True))
    return [said[_canonical(question)] for question in questions]


@functools.cache
def _trusted(authorities: bool) -> ssl.SSLContext:
    """Whose certificates are taken. Reading the list of authorities takes .1 s and more: where no certificate is shown,
    none is taken."""
    import httpx

    return httpx.create_ssl_context() if authorities else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _finished(work: Coroutine[Any, Any, list[Reply | Failed]]) -> list[Reply | Failed]:
    """Run it to its end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@dataclass
class _Session:
    """One batch of questions to one server."""

    settings: ServedSettings
    ledger: Ledger
    clock: Clock
    secret: str
    stop: RrmError | None = None
    reached: bool = False
    in_a_row: int = 0
    under_way: int = 0
    asked: bool = False
    quiet_until: float = 0.0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def server(self) -> str:
        return f"{self.settings.base_url} {self.settings.model}"

    async def all(self, questions: Sequence[Question]) -> list[Reply | Failed]:
        known = {i: self._known(question) for i, question in enumerate(questions)}
        found: dict[int, Reply | Failed] = {i: reply for i, reply in known.items() if reply is not None}
        rest = [(i, question) for i, question in enumerate(questions) if i not in found]
        if rest:
            queue = iter(rest)
            async with self._http() as http:
                await asyncio.gather(
                    *(self._work(http, queue, found) for _ in range(min(self.settings.concurrency, len(rest))))
                )
        if self.stop is not None:
            raise self.stop
        return [found[i] for i in range(len(questions))]

    def _known(self, question: Question) -> Reply | None:
        """What was said in this run to the request that would be made first."""
        form = self.settings.forms(self.ledger.form(self.server))[0]
        return self.ledger.reply(self._request(question, form)[0])

    def _http(self) -> httpx.AsyncClient:
        try:
            import httpx
        except ImportError:
            raise PlanError("'chat' needs httpx: in a clone of rrm, .venv/bin/pip install -e '.[chat]'") from None
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        many = self.settings.concurrency
        limits = httpx.Limits(max_connections=many, max_keepalive_connections=many)
        return httpx.AsyncClient(
            headers=headers, timeout=self.settings.timeout, limits=limits, follow_redirects=False,
            verify=_trusted(self.settings.base_url.startswith("https:")),
        )  # fmt: skip

    async def _work(
        self, http: httpx.AsyncClient, queue: Iterator[tuple[int, Question]], found: dict[int, Reply | Failed]
    ) -> None:
        for number, question in queue:
            if self.stop is not None:
                return
            try:
                found[number] = said = await self._one(http, question)
                self._count(said)
            except RrmError as error:  # what is under way is paid for: it is waited for, and kept
                self.stop = self.stop or error
                return

    def _count(self, said: Reply | Failed) -> None:
        self.in_a_row = self.in_a_row + 1 if isinstance(said, Failed) else 0
        if isinstance(said, Failed) and self.in_a_row >= self.settings.give_up:
            raise Unfinished(
                f"{self.settings.base_url}: {self.in_a_row} requests in a row failed, the last with: {said.words}. "
                "What was said is kept: look after the server, and run the same command again"
            )

    async def _one(self, http: httpx.AsyncClient, question: Question) -> Reply | Failed:
        """Ask in the strictest form that the server takes, and remember which that is."""
        forms = self.settings.forms(self.ledger.form(self.server))
        forms = forms if question.schema is not None else forms[:1]
        said: Reply | Failed = Failed("nothing was tried")
        for form in forms:
            key, body = self._request(question, form)
            said = self.ledger.reply(key) or await self._until_answered(http, key, body)
            if not (isinstance(said, Failed) and said.request):
                if form != forms[0] and isinstance(said, Reply):
                    self.ledger.learn(self.server, form)
                return said
        return said

    def _request(self, question: Question, form: Form) -> tuple[str, str]:
        body = _canonical(
            request(
                self.settings, question.messages, question.schema, form=form, temperature=question.temperature,
                seed=question.draw,
            )
        )  # fmt: skip
        # the draw stands in the key also where no seed is sent: two samples are two requests
        whole = _canonical([self.settings.base_url, body, question.draw])
        return hashlib.sha256(whole.encode()).hexdigest(), body

    async def _until_answered(self, http: httpx.AsyncClient, key: str, body: str) -> Reply | Failed:
        data, words = body.encode(), ""
        for number in range(self.settings.retries + 1):
            if self.stop is not None:
                return Failed("the run stopped")
            call = await self._reserved(key, data)
            came = await self._attempt(http, key, body, data, call)
            if isinstance(came, Refused):
                return self._refused(came)
            if isinstance(came, Got):
                return came.reply
            words = came.words
            if not came.reached and not self.reached and number >= 1:
                raise Unfinished(
                    f"{self.settings.base_url}: no server answers there. Start it, or write another base_url, and run "
                    "the same command again"
                )
            if (came.after or 0.0) > PATIENCE:
                return Failed(f"{words}, and to be left alone for {came.after:.0f} seconds")
            if number < self.settings.retries:
                await self._back_off(number, came.after)
        return Failed(f"{words} ({self.settings.retries + 1} tries)")

    async def _attempt(
        self, http: httpx.AsyncClient, key: str, body: str, data: bytes, call: int
    ) -> Got | Lost | Refused:
        """One try, written down as what it was. Whatever ends it otherwise leaves it with the most that it may cost."""
        settings = self.settings
        try:
            came = await attempt(
                http, f"{settings.base_url}/chat/completions", data, timeout=settings.timeout, now=self.clock.now()
            )
            self.reached = self.reached or not (isinstance(came, Lost) and not came.reached)
            if isinstance(came, Got):
                came = came._replace(reply=Reply(*(self._without_key(text) for text in came.reply)))
                tokens = money = None
                if came.used is not None:
                    tokens = sum(came.used)
                    money = (came.used[0] * settings.price_in + came.used[1] * settings.price_out) / 1e6
                self.ledger.keep(call, key, body, came.reply, tokens, money)
            else:
                charged = isinstance(came, Lost) and came.charged
                self.ledger.settle(call, "lost" if charged else "free")
            return came
        finally:
            self.under_way -= 1
            self.settled.set()

    async def _reserved(self, key: str, data: bytes) -> int:
        """The number of a call that may be made. Waits for the rate; raises Unfinished where the budget is spent."""
        settings = self.settings
        most = len(data) + OVERHEAD  # no tokenizer makes more of a text than it has bytes
        money = (most * settings.price_in + settings.max_tokens * settings.price_out) / 1e6
        while True:
            if (pause := self.quiet_until - self.clock.now()) > 0:
                await self.clock.sleep(pause)
            held = self.ledger.reserve(key, settings, self.clock.now(), most + settings.max_tokens, money)
            if isinstance(held, int):
                self.asked, self.under_way = True, self.under_way + 1
                return held
            if isinstance(held, Wait):
                await self.clock.sleep(held.seconds)
            elif self.under_way:  # which will cost less than they may, and leave room
                self.settled.clear()
                await self.settled.wait()
            else:
                raise Unfinished(
                    f"{held.words}. What was said is kept: raise it in the plan, and run the same command again"
                )
            if self.stop is not None:
                raise self.stop

    async def _back_off(self, number: int, after: float | None) -> None:
        pause = self.clock.draw() * min(LONGEST_WAIT, self.settings.wait * 2.0**number)
        if after is not None:
            self.quiet_until = max(self.quiet_until, self.clock.now() + after)  # nobody else disturbs it either
            pause += after
        await self.clock.sleep(pause)

    def _refused(self, came: Refused) -> Failed:
        """A request that the server does not take. Raises PlanError where it would take no other."""
        where, status = self.settings.base_url, came.status
        if status in (401, 403):
            whose = f"the key in {self.settings.key}" if self.settings.key else "a request without a key"
            raise PlanError(f"{where}: the server does not take {whose} (HTTP {status})")
        if status == 404:
            raise PlanError(
                f"{where}: the server has no model {self.settings.model!r}, or no chat at this address (HTTP 404)"
            )
        if 300 <= status < 400:
            raise PlanError(f"{where}: the server points elsewhere (HTTP {status}): write that address as base_url")
        told = f", {came.code}" if came.code else ""
        return Failed(f"the server does not take the request (HTTP {status}{told})", request=True)

    def _without_key(self, text: str) -> str:
        """A server that repeats the key puts it into no record."""
        return text.replace(self.secret, SECRET) if self.secret else text
