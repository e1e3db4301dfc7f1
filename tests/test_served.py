"""Models behind a server: asked on loopback, by servers that answer and by servers that fail in every way."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import Raw, Served, adds, completion, error, failing

from rrm.errors import PlanError, SettingsError, Unfinished
from rrm.identity import identity
from rrm.models.served.client import Clock, Failed, Question, ask
from rrm.models.served.ledger import FILE, Ledger, Reply
from rrm.models.served.reply import objects, value_in
from rrm.models.served.settings import UNKEYED, ServedSettings
from rrm.registry import ASSISTANTS, EVALUATORS

SECRET = "sk-0123456789abcdef"


class Waiting:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, draw: float = 1.0) -> None:
        self.time, self.slept = 1000.0, list[float]()
        self.clock = Clock(now=lambda: self.time, sleep=self._sleep, draw=lambda: draw)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


def settings(server: Served, **more: Any) -> ServedSettings:
    return ServedSettings(model="m", base_url=server.url, **{"timeout": 5.0, **more})


def question(text: str = "1 2", **more: Any) -> Question:
    return Question((("user", text),), None, **{"temperature": 0.0, **more})


def spent(folder: Path) -> tuple[int, int, float]:
    with Ledger.open(folder) as ledger:
        return tuple(ledger.spent())  # type: ignore[return-value]


def says(*answers: str | Raw) -> Callable[[dict[str, Any], int], str | Raw]:
    """These in turn, and the last for ever."""
    return lambda body, number: answers[min(number, len(answers) - 1)]


# -- a server that fails ----------------------------------------------------------------------------------------------

GOOD = completion("yes").data
FAULTS = {
    "500": error(500),
    "502, no JSON": Raw(502, b"<html>"),
    "429": error(429),
    "408": error(408),
    "cut in the body": Raw(data=GOOD[:30], length=len(GOOD)),
    "cut before it": Raw(data=b"", length=len(GOOD)),
    "silent": Raw(data=GOOD, before=0.6),
    "slow drip": Raw(data=GOOD, drip=0.05),
    "not JSON": Raw(data=b"<html>it works</html>"),
    "half of JSON": Raw(data=GOOD[:30]),
    "not in UTF-8": Raw(data=b'{"choices": "\xff\xfe"}'),
    "deep": Raw(data=b"[" * 200_000),
    "another schema": Raw(data=b'{"answer": "yes"}'),
    "no choices": Raw(data=b'{"choices": []}'),
    "no text": Raw(data=b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}'),
    "a number for a text": Raw(data=b'{"choices": [{"message": {"content": 7}}]}'),
    "a list": Raw(data=b"[1]"),
    "empty": Raw(data=b""),
    "a flood": Raw(data=b" " * (5 * 2**20)),
    "no gzip": Raw(data=GOOD, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_at_the_server_is_asked_again(fault: str, tmp_path: Path) -> None:
    waiting = Waiting()
    began = time.monotonic()
    with Served(says(FAULTS[fault], "yes")) as server:
        (said,) = ask(settings(server, timeout=0.3), [question()], tmp_path, waiting.clock)
    assert said == Reply("yes", "", "stop")
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]
    assert waiting.slept == [1.0]
    assert time.monotonic() - began < 5, "a server that drips, or is silent, holds nobody up"


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("silent", "slow drip")])
def test_what_keeps_failing_is_no_reply_and_is_not_kept(fault: str, tmp_path: Path) -> None:
    waiting = Waiting()
    with Served(says(FAULTS[fault])) as server:
        (said,) = ask(settings(server, retries=3), [question()], tmp_path, waiting.clock)
        assert isinstance(said, Failed)
        assert said.words.endswith("(4 tries)")
        assert not said.request
        assert len(server.requests) == 4
        assert waiting.slept == [1.0, 2.0, 4.0]
        server.says = says("yes")
        assert ask(settings(server), [question()], tmp_path, waiting.clock) == [Reply("yes", "", "stop")]


def test_waits_grow_to_a_minute_and_are_drawn(tmp_path: Path) -> None:
    for draw in (1.0, 0.25):
        waiting = Waiting(draw)
        with Served(says(error(500))) as server:
            ask(settings(server, retries=9), [question()], None, waiting.clock)
        assert waiting.slept == [draw * min(60, 2**n) for n in range(9)]


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0), ("soon", 0.0), ("-3", 0.0)]
)
def test_a_server_is_left_alone_as_long_as_it_asks(said: str, seconds: float, tmp_path: Path) -> None:
    waiting = Waiting(draw=0.0)
    with Served(says(error(429, Retry_After=said), "yes")) as server:
        assert ask(settings(server), [question()], tmp_path, waiting.clock) == [Reply("yes", "", "stop")]
    assert sum(waiting.slept) == seconds


def test_a_server_that_asks_for_an_hour_has_failed(tmp_path: Path) -> None:
    waiting = Waiting()
    with Served(says(error(429, Retry_After="3600"))) as server:
        (said,) = ask(settings(server), [question()], tmp_path, waiting.clock)
    assert isinstance(said, Failed)
    assert "3600 seconds" in said.words
    assert waiting.slept == []


def test_a_server_that_keeps_failing_stops_the_run(tmp_path: Path) -> None:
    with Served(says(error(500))) as server:
        told = settings(server, retries=1, give_up=3, concurrency=1)
        with pytest.raises(Unfinished, match=r"3 requests in a row failed, the last with: HTTP 500 \(2 tries\)"):
            ask(told, [question(str(n)) for n in range(10)], tmp_path, Waiting().clock)
        assert len(server.requests) == 6


def test_where_nobody_listens_the_run_stops_soon(tmp_path: Path) -> None:
    with Served(adds) as server:
        pass
    waiting = Waiting()
    with pytest.raises(Unfinished, match="no server answers there"):
        ask(settings(server), [question()], tmp_path, waiting.clock)
    assert waiting.slept == [1.0]
    assert spent(tmp_path) == (0, 0, 0.0), "where nothing was reached, nothing was paid"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (error(401), "does not take the key in RRM_TEST_KEY"),
        (error(403), "HTTP 403"),
        (error(404), "no model 'm'"),
        (Raw(302, headers={"Location": "http://evil.example/"}), "points elsewhere"),
    ],
)
def test_what_will_not_pass_stops_the_run(raw: Raw, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRM_TEST_KEY", SECRET)
    raw.data = json.dumps({"error": {"message": f"bad key {SECRET}", "code": SECRET}}).encode()
    with Served(says(raw)) as server:
        with pytest.raises(PlanError, match=told) as stop:
            ask(settings(server, key="RRM_TEST_KEY"), [question()], tmp_path, Waiting().clock)
        assert len(server.requests) == 1
    assert SECRET not in str(stop.value)


def test_a_request_that_is_not_taken_is_no_failure_of_the_others(tmp_path: Path) -> None:
    def picky(body: dict[str, Any], number: int) -> str | Raw:
        return error(400, "bad_thing") if "x" in body["messages"][0]["content"] else "yes"

    with Served(picky) as server:
        said = ask(settings(server), [question("a"), question("x"), question("b")], tmp_path, Waiting().clock)
        assert len(server.requests) == 3
    assert [type(s) for s in said] == [Reply, Failed, Reply]
    assert said[1] == Failed("the server does not take the request (HTTP 400, bad_thing)", request=True)


def test_a_filter_of_the_server_is_a_refusal_and_is_kept(tmp_path: Path) -> None:
    with Served(says(error(400, "content_filter"))) as server:
        for _ in range(2):
            (said,) = ask(settings(server), [question()], tmp_path, Waiting().clock)
            assert isinstance(said, Reply)
            assert said.refusal
        assert len(server.requests) == 1


# -- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_stands_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRM_TEST_KEY", f" {SECRET}\n")

    def repeats(body: dict[str, Any], number: int) -> Raw:
        return completion(f"you sent {server.keys[-1]}", refusal=f"for {SECRET}", finish=SECRET)

    with Served(repeats) as server:
        (said,) = ask(settings(server, key="RRM_TEST_KEY"), [question()], tmp_path, Waiting().clock)
    assert server.keys == [f"Bearer {SECRET}"]
    assert said == Reply("you sent Bearer ‹key›", "for ‹key›", "‹key›")
    for path in tmp_path.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_no_key_is_sent_unless_the_plan_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with Served(adds) as server:
        ask(settings(server), [question()], tmp_path)
    assert server.keys == [""]


def test_a_key_that_is_not_there_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RRM_TEST_KEY", raising=False)
    with Served(adds) as server:
        with pytest.raises(PlanError, match="RRM_TEST_KEY is not set"):
            ask(settings(server, key="RRM_TEST_KEY"), [question()], tmp_path)
        monkeypatch.setenv("RRM_TEST_KEY", f"{SECRET}\nX-More: 1")
        with pytest.raises(PlanError, match="what RRM_TEST_KEY holds is no key") as told:
            ask(settings(server, key="RRM_TEST_KEY"), [question()], tmp_path)
    assert SECRET not in str(told.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": SECRET},
        {"base_url": f"http://me:{SECRET}@127.0.0.1/v1"},
        {"base_url": f"http://127.0.0.1/v1?key={SECRET}"},
        {"base_url": f"file://{SECRET}"},
        {"base_url": f"http://[{SECRET}/v1"},
    ],
)
@pytest.mark.parametrize("registry", [ASSISTANTS, EVALUATORS], ids=lambda r: r.kind)
def test_a_secret_that_somebody_writes_into_a_plan_is_refused_and_not_repeated(registry: Any, wrong: Any) -> None:
    with pytest.raises(SettingsError) as told:
        registry.build("chat", {"model": "m", **wrong})
    assert SECRET not in str(told.value)
    assert "this should be" in str(told.value)


def test_other_wrong_settings_are_told() -> None:
    for wrong, words in [
        ({}, "needs the setting 'model'"),
        ({"model": "m", "extra": {"messages": []}}, "'messages' has a setting of its own"),
        ({"model": "m", "temprature": 1}, "has no setting 'temprature'"),
    ]:
        with pytest.raises(SettingsError, match=words):
            EVALUATORS.build("chat", wrong)


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    numbers = itertools.count()
    with Served(lambda body, number: str(next(numbers))) as server:
        asked = [question("a"), question("b"), question("a"), question("a", draw=1), question("a", draw=2)]
        first = ask(settings(server, send_seed=False), asked, tmp_path)
        assert first[0] == first[2]
        assert len(set(first)) == 4
        assert ask(settings(server, send_seed=False, concurrency=3, retries=1), asked, tmp_path) == first
        assert len(server.requests) == 4
        assert ask(settings(server, send_seed=False), asked[:1], None) != first[:1], "without a run nothing is kept"


@pytest.mark.parametrize(
    "other",
    [{"model": "n"}, {"max_tokens": 3}, {"extra": {"top_p": 0.5}}, {"limit_as": "max_completion_tokens"}],
    ids=str,
)
def test_another_request_is_another_question(other: dict[str, Any], tmp_path: Path) -> None:
    with Served(adds) as server:
        one = settings(server)
        for told in (one, one.model_copy(update=other), one):
            ask(told, [question()], tmp_path)
        ask(one, [question(temperature=0.5)], tmp_path)
        assert len(server.requests) == 3


def test_the_same_request_to_another_server_is_another_question(tmp_path: Path) -> None:
    with Served(says("one")) as one, Served(says("two")) as two:
        assert [ask(settings(s), [question()], tmp_path)[0].text for s in (one, two)] == ["one", "two"]


def test_a_reply_is_on_the_disk_before_the_next_question_is_put(tmp_path: Path) -> None:
    def looks(body: dict[str, Any], number: int) -> str:
        with sqlite3.connect(tmp_path / FILE) as db:
            kept.append(db.execute("SELECT count(*) FROM replies").fetchone()[0])
            calls.append(db.execute("SELECT count(*) FROM calls").fetchone()[0])
        return "yes"

    kept, calls = list[int](), list[int]()
    with Served(looks) as server:
        ask(settings(server, concurrency=1), [question(str(n)) for n in range(4)], tmp_path)
    assert kept == [0, 1, 2, 3]
    assert calls == [1, 2, 3, 4], "a call is written down before it is made"


def test_text_that_no_record_can_hold_is_mended(tmp_path: Path) -> None:
    raw = Raw(data=b'{"choices": [{"message": {"content": "a\\ud800b\\u0000c"}, "finish_reason": "stop"}]}')
    with Served(says(raw)) as server:
        assert ask(settings(server), [question()], tmp_path)[0] == Reply("a?b\x00c", "", "stop")
        assert ask(settings(server), [question()], tmp_path)[0] == Reply("a?b\x00c", "", "stop")


# -- what it costs ----------------------------------------------------------------------------------------------------

PRICED = {"price_in": 10.0, "price_out": 1000.0, "max_tokens": 50}


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_money_is_never_passed_and_more_of_it_goes_on(concurrency: int, rate: float, tmp_path: Path) -> None:
    """A reply costs .0502, and may cost .052 or so: each is allowed only where the most fits."""
    paid, slow = itertools.count(), 0.4 if rate else 30.0
    done = set[str]()

    def charges(body: dict[str, Any], number: int) -> Raw:
        next(paid)
        done.add(body["messages"][0]["content"])
        return completion("yes", used=(20, 50))

    asked = [question(str(n)) for n in range(20)]
    with Served(failing(charges, rate=rate, stall=0.6) if rate else charges) as server:
        few = settings(server, concurrency=concurrency, budget_money=0.5, timeout=slow, retries=20, **PRICED)
        with pytest.raises(Unfinished, match=r"budget_money = 0\.5 does not allow one more request") as stop:
            ask(few, asked, tmp_path, Waiting().clock)
        assert "\n" not in str(stop.value)
        calls, _, money = spent(tmp_path)
        assert 0 < money <= 0.5
        assert money == pytest.approx(calls * 0.0502) if not rate else money >= len(done) * 0.0502
        assert rate or len(done) == 9, "ten would cost .502"
        with pytest.raises(Unfinished):
            ask(few, asked, tmp_path, Waiting().clock)
        assert rate or len(server.requests) == 9
        many = few.model_copy(update={"budget_money": 50.0})
        assert ask(many, asked, tmp_path, Waiting().clock) == [Reply("yes", "", "stop")] * 20
        assert rate or next(paid) == 20, "what was paid for is not paid for again"


def test_tokens_are_never_passed(tmp_path: Path) -> None:
    with Served(lambda body, number: completion("yes", used=(30, 20))) as server:
        told = settings(server, budget_tokens=1000, max_tokens=20)
        with pytest.raises(Unfinished, match="budget_tokens = 1000"):
            ask(told, [question(str(n)) for n in range(100)], tmp_path)
    calls, tokens, _ = spent(tmp_path)
    assert tokens == 50 * calls <= 1000
    assert calls >= 15, "in-flight requests are not taken for spent ones"


@pytest.mark.parametrize("name", ["silent", "cut in the body", "not JSON"])
def test_what_may_have_been_charged_for_counts_with_the_most_that_it_may_have_cost(name: str, tmp_path: Path) -> None:
    with Served(says(FAULTS[name])) as server:
        ask(settings(server, retries=0, timeout=0.3, **PRICED), [question()], tmp_path, Waiting().clock)
    calls, tokens, money = spent(tmp_path)
    assert calls == 1
    assert tokens > 50
    assert money > 0.05


def test_what_a_server_fails_at_by_itself_costs_nothing(tmp_path: Path) -> None:
    with Served(says(error(500))) as server:
        ask(settings(server, retries=2, **PRICED), [question()], tmp_path, Waiting().clock)
    assert spent(tmp_path) == (0, 0, 0.0)


def test_without_counts_a_reply_costs_the_most_that_it_may(tmp_path: Path) -> None:
    for used in (None, (-5, True), ("7", 2)):
        with Served(says(completion("yes", used=used))) as server:  # type: ignore[arg-type]
            ask(settings(server, **PRICED), [question(str(used))], tmp_path)
    assert spent(tmp_path)[2] > 3 * 0.05


def test_the_rate_is_kept_in_every_minute(tmp_path: Path) -> None:
    waiting = Waiting()
    with Served(says("yes")) as server:
        told = settings(server, requests_per_minute=3, concurrency=4)
        ask(told, [question(str(n)) for n in range(10)], tmp_path, waiting.clock)
    with sqlite3.connect(tmp_path / FILE) as db:
        began = [row[0] for row in db.execute("SELECT began FROM calls ORDER BY began")]
    assert len(began) == 10
    assert max(sum(at <= b < at + 60 for b in began) for at in began) == 3
    assert began[-1] - began[0] < 60 * 3.1, "and it is no slower than it has to be"


def test_the_rate_in_tokens_is_kept_and_one_large_request_goes_alone(tmp_path: Path) -> None:
    waiting = Waiting()
    with Served(lambda body, number: completion("yes", used=(300, 100))) as server:
        told = settings(server, tokens_per_minute=500, concurrency=1, max_tokens=100)
        ask(told, [question(str(n)) for n in range(3)], tmp_path, waiting.clock)
        assert waiting.time - 1000 >= 120
        ask(told.model_copy(update={"tokens_per_minute": 5}), [question("one more")], tmp_path, waiting.clock)
        assert len(server.requests) == 4


def test_as_many_are_under_way_as_the_plan_says(tmp_path: Path) -> None:
    def slow(body: dict[str, Any], number: int) -> Raw:
        return Raw(data=GOOD, before=0.05)

    for many in (1, 4):
        with Served(slow) as server:
            ask(settings(server, concurrency=many), [question(str(n)) for n in range(12)], None)
            assert server.most_at_once == many


# -- how JSON is asked for --------------------------------------------------------------------------------------------

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


def form_of(body: dict[str, Any]) -> str:
    return str(body.get("response_format", {}).get("type", "text"))


@pytest.mark.parametrize(
    ("taken", "tried"),
    [
        ({"json_schema", "json_object", "text"}, ["json_schema"]),
        ({"json_object", "text"}, ["json_schema", "json_object"]),
        ({"text"}, ["json_schema", "json_object", "text"]),
    ],
)
def test_json_is_asked_for_as_strictly_as_the_server_takes_it(
    taken: set[str], tried: list[str], tmp_path: Path
) -> None:
    with Served(lambda body, number: "{}" if form_of(body) in taken else error(400)) as server:
        told = settings(server, concurrency=1)
        asked = [question(str(n))._replace(schema=SCHEMA) for n in range(3)]
        said = ask(told, asked, tmp_path)
        assert said == [Reply("{}", "", "stop")] * 3
        assert [form_of(b) for b in server.requests] == [*tried, tried[-1], tried[-1]]
        assert ask(told, asked, tmp_path) == said
        assert len(server.requests) == len(tried) + 2


def test_one_request_that_is_never_taken_changes_nothing_for_the_others(tmp_path: Path) -> None:
    with Served(lambda body, number: error(400) if "x" in str(body["messages"]) else "{}") as server:
        asked = [question(text)._replace(schema=SCHEMA) for text in ("x", "y")]
        ask(settings(server, concurrency=1), asked, tmp_path)
        assert [form_of(b) for b in server.requests] == ["json_schema", "json_object", "text", "json_schema"]


def test_a_form_that_the_plan_names_is_the_only_one(tmp_path: Path) -> None:
    with Served(says(error(400))) as server:
        (said,) = ask(settings(server, structured="object"), [question()._replace(schema=SCHEMA)], tmp_path)
        assert isinstance(said, Failed)
        assert [form_of(b) for b in server.requests] == ["json_object"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', 1),
        ('Well.\n```json\n{"a": "x"}\n```\nDone.', "x"),
        ('<think>{"a": 1}?</think>{"a": 2}', 2),
        ('{"b": {"a": 1}}', None),
        ('{"a": 1} {"a": 1}', 1),
        ('{"a": 1} {"a": 2}', None),
        ('{"a": 1} {"a": true}', None),
        ('{"a": 1', None),
        ("{" * 10_000 + '{"a": 1}', None),
        ("", None),
        ("[1]", None),
        ('x {y} {"a": null}', None),
    ],
)
def test_a_value_is_read_only_where_one_is_said(text: str, value: object) -> None:
    assert value_in(text, "a") == value


def test_reading_a_flood_takes_no_time() -> None:
    began = time.process_time()
    assert list(objects('{"a":' * 200_000)) == []
    assert time.process_time() - began < 2


# -- where it stands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", [ASSISTANTS, EVALUATORS], ids=lambda r: r.kind)
def test_how_fast_and_for_how_much_is_no_part_of_what_a_node_is(registry: Any) -> None:
    plain = {"model": "m", "price_in": 1.0}
    other = {"key": "K", "timeout": 1.0, "retries": 1, "wait": 2.0, "give_up": 9, "concurrency": 2,
             "requests_per_minute": 1, "tokens_per_minute": 1, "price_in": 2.0, "price_out": 2.0,
             "budget_money": 3.0, "budget_tokens": 3}  # fmt: skip
    assert set(other) == set(UNKEYED)
    assert identity(registry.build("chat", plain)) == identity(registry.build("chat", {**plain, **other}))
    for name, value in {"model": "n", "base_url": "http://x.example/v1", "temperature": 1.0, "longest": 200}.items():
        assert identity(registry.build("chat", plain)) != identity(registry.build("chat", {**plain, name: value}))


def test_it_is_asked_from_within_a_loop_too(tmp_path: Path) -> None:
    async def notebook(server: Served) -> list[Reply | Failed]:
        return ask(settings(server), [question("1 2")], tmp_path)

    with Served(says("3")) as server:
        assert asyncio.run(notebook(server)) == [Reply("3", "", "stop")]


def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    """Reservations are made in the file, where everybody sees them."""
    told = ServedSettings(model="m", budget_tokens=100)
    with Ledger.open(tmp_path) as one, Ledger.open(tmp_path) as two:
        assert isinstance(one.reserve("a", told, 0.0, 60, 0.0), int)
        assert not isinstance(two.reserve("b", told, 0.0, 60, 0.0), int)
        assert isinstance(two.reserve("b", told, 0.0, 40, 0.0), int)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
