"""`rrm judge`: a whole run judged over HTTP, the page and the interface, who is let in, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import NODES, STUDY, Rrm
from desks import close_all, desk_at, sheets
from starlette.testclient import TestClient

from rrm import Case, Exhibit, Item, Query, Report, Response, Store, Study, build
from rrm.assemble import assemble
from rrm.desk import Desk, place_of
from rrm.desk.raters import OWNER
from rrm.desk.sheet import sheet_of
from rrm.errors import Refused, Unfinished
from rrm.gate import AGREES
from rrm.inert import inert
from rrm.node import published
from rrm.raters.watch import Watch
from rrm.records import FEEDBACK, Arm, Exam
from rrm.registry import TASKS
from rrm.report.judges import agreement, judges
from rrm.roles import Known
from rrm.seed import Seed
from rrm.testing import HOSTILE
from rrm.web.app import application, server
from rrm.web.drill import Drill
from rrm.web.forms import tiers
from rrm.web.going_on import GoingOn, Waits
from rrm.web.guard import LARGEST, Guard
from rrm.web.overseen import overseen
from rrm.web.page import _sentence
from rrm.web.session import Doors, origin_of

PEOPLE = (
    """\
# Sums in two levels, judged by people.
#   rrm run people.toml
seed = 7
effort = { rounds = 1, cases = 4, exam = 40 }
gate = { items = 3 }

[cast]
assistant = { use = "careless-adder", slip = 0.5 }
evaluator = "people"
reward    = { use = "tally" }
policy    = { use = "best-of-n", n = 4 }
"""
    + NODES
)
UNGATED = PEOPLE.replace("gate = {", "gate = { on_fail = 'off',")
KEY = "0123456789abcdef"


class Served:
    """An application on a port of this machine, in a thread."""

    def __init__(
        self,
        desk: Desk,
        going: GoingOn | None = None,
        names: tuple[str, ...] = ("ann", "bob"),
        drill: Drill | None = None,
    ) -> None:
        self.desk, self.doors = desk, Doors(desk, "rrm_test")
        self.going = going or GoingOn(desk, None)
        self.raters = {rater.name: rater.id for rater in desk.register.invite(names)}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = application(desk, self.doors, self.going, drill=drill)
        self._server = server(app)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._clients: list[httpx.Client] = []
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def token(self, name: str) -> str:
        return self.doors.token(self.raters.get(name, OWNER))

    def script(self, name: str) -> httpx.Client:
        """As a script that sends the token of a link."""
        return self._client(headers={"authorization": f"Bearer {self.token(name)}"})

    def browser(self, name: str) -> httpx.Client:
        """As a browser that opened a link."""
        client = self._client(follow_redirects=True)
        assert client.post("/session", data={"token": self.token(name)}).status_code == 200
        return client

    def _client(self, **given: Any) -> httpx.Client:
        self._clients.append(httpx.Client(base_url=self.base, timeout=20, **given))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    desk = desk_at(tmp_path / "desk.sqlite")
    desk.tray.put(KEY, "0", sheets(3), wanted=1)
    found = Served(desk)
    yield found
    found.close()
    close_all()


def verdict(given: dict[str, Any]) -> dict[str, Any]:
    """Something that may be said of a case: of sums, that the larger one is better."""
    sheet = given["sheet"]
    texts = [int(a["text"]) for a in sheet["answers"]]
    content: dict[str, Any] = {"score": 0.5}
    if sheet["kinds"][0] == "preference":
        content = {"first_better": float(texts[0] > texts[1])}
    elif sheet["kinds"][0] == "ranking":
        best = texts.index(max(texts))
        content = {"tiers": [[best], [i for i in range(len(texts)) if i != best]]}
    return {"case": given["case"], "kind": sheet["kinds"][0], **content}


def proof_in(page: str) -> dict[str, str]:
    """The hidden fields of a page's first form that judges."""
    form = page[page.index('class="verdict"') :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[: form.index("</form>")]))


# -- time ------------------------------------------------------------------------------------------------------------


def test_the_clock_of_a_case_waits_for_somebody(tmp_path: Path) -> None:
    """After one that ran out, and where the page came by itself."""
    desk = desk_at(tmp_path / "desk.sqlite")
    served = Served(desk)
    limited = [sheet.model_copy(update={"limit": 60.0}) for sheet in sheets(3)]
    try:
        ann = served.browser("ann")
        assert 'content="2;url=/?alone=1"' in ann.get("/").text
        desk.tray.put(KEY, "0", limited)
        for _ in range(2):
            page = ann.get("/?alone=1").text
            assert "<h1>Ready?</h1>" in page
        proof = dict(re.findall(r'name="(proof)" value="([^"]*)"', page))
        time.sleep(3)
        page = ann.post("/ready", data=proof).text
        assert float(re.search(r'data-spent="([0-9.]+)"', page)[1]) < 3, "the time on the other page does not count"
        one = proof_in(page)
        time.sleep(3)
        page = ann.post("/judge", data={**one, "kind": "abstention", "reason": "out of time", "seconds": "60"}).text
        assert "<h1>Ready?</h1>" in page
        assert "<h1>Ready?</h1>" in ann.get("/").text
        page = ann.post("/undo", data=proof).text
        assert proof_in(page)["case"] == one["case"]
        assert float(re.search(r'data-spent="([0-9.]+)"', page)[1]) < 3, "it has all its time again"
        page = ann.post("/judge", data={**proof_in(page), "better": "1"}).text
        assert proof_in(page)["case"] != one["case"], "who judged sits there"
        assert [r.verdicts for r in desk.register.progress()[1]] == [1, 0]
    finally:
        served.close()
        close_all()


# -- a whole run ------------------------------------------------------------------------------------------------------


def test_a_two_level_run_is_judged_over_http_and_ends_with_a_report(tmp_path: Path) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(PEOPLE)
    with pytest.raises(Unfinished, match=r"4 of 4 cases still wait.*rrm judge"):
        build.run(Study.load(plan), Store(out), workers=1)
    desk = desk_at(place_of(out))
    command = [sys.executable, "-m", "rrm", "run", str(out), "--quiet"]
    served = Served(desk, GoingOn(desk, command, grace=0.3, every=0.05), names=("ann",))
    served.going.start()
    try:
        ann, owner = served.script("ann"), served.script("owner")
        said: list[dict[str, Any]] = []
        opened: dict[str, str] = {}
        until = time.monotonic() + 120
        while not served.going.finished and time.monotonic() < until:
            answer = ann.get("/api/case")
            if answer.status_code == 204:
                time.sleep(0.05)
                continue
            given = answer.json()
            for exhibit in given["sheet"]["exhibits"][:1]:
                assert exhibit["said"] == exhibit["asked"] == [], "nothing of it is read before it is opened"
                shown = ann.post("/api/opened", json={"case": given["case"], "exhibit": exhibit["exhibit"]}).json()
                assert shown["who"] == "block"
                assert (shown["level"], shown["checked"]) == (0, 3)
                opened[given["sheet"]["case"]] = exhibit["exhibit"]
            kept = ann.post("/api/feedback", json=verdict(given))
            assert kept.status_code == 201, kept.text
            said.append(kept.json()["feedback"])
        assert served.going.state == "finished"
        progress = owner.get("/api/progress").json()
    finally:
        served.going.stop()
        served.close()
        close_all()
    assert [(n["node"], n["cases"], n["taken"]) for n in progress["nodes"]] == [("block", 7, 7), ("total", 7, 7)]
    store = Store(out, create=False)
    record = [
        f
        for key, stream in store.places()
        if stream.endswith("/feedback")
        for f in store.read(key, stream, FEEDBACK).values()
    ]
    assert {f.body for f in record} == {FEEDBACK.validate_python(f).body for f in said}
    assert len(record) == 14
    assert {f.evaluator for f in record} == {"ann"}
    assert len(opened) == 7
    assert {f.case: f.seen for f in record if f.seen} == {case: (exhibit,) for case, exhibit in opened.items()}
    nodes = Report.from_store(store).to_json()["arms"][0]["nodes"]
    assert {name: node["judgements"] for name, node in nodes.items()} == {"block": 4, "total": 4}
    assert {name: node["truth"]["n"] for name, node in nodes.items()} == {"block": 40, "total": 40}
    assert (out / "report.html").is_file()


def test_several_raters_make_one_verdict(tmp_path: Path) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(UNGATED.replace('"people"', '{ use = "people", raters = 3 }'))
    sayings = {"a": 1.0, "b": 1.0, "c": 0.0}
    for _ in range(2):
        with pytest.raises(Unfinished):
            build.run(Study.load(plan), Store(out), workers=1)
        desk = desk_at(place_of(out))
        for rater in desk.register.invite(tuple(sayings)):
            while handed := desk.next(rater.id):
                desk.say(rater.id, handed.id, FEEDBACK.validate_python(
                    {"kind": "preference", "case": handed.sheet.case, "evaluator": rater.name, "seconds": 2.0,
                     "first_better": sayings[rater.name]}
                ))  # fmt: skip
        close_all()
    build.run(Study.load(plan), Store(out), workers=1)
    store = Store(out, create=False)
    record = [f for k, s in store.places() if s == "0/feedback" for f in store.read(k, s, FEEDBACK).values()]
    assert {(f.evaluator, f.first_better, f.seconds) for f in record} == {("people", 2 / 3, 6.0)}
    assert len(record) == 8


def test_weights_are_taken_of_a_whole_round_and_kept(tmp_path: Path) -> None:
    """Two who agree, and one who says the opposite: whenever the run looks, it is told the same."""
    plan, records = tmp_path / "people.toml", []
    plan.write_text(UNGATED.replace('"people"', '{ use = "people", raters = 3, weigh = "dawid-skene" }'))
    for early in (False, True):
        out = tmp_path / f"out-{early}"
        for level in range(2):
            with pytest.raises(Unfinished):
                build.run(Study.load(plan), Store(out), workers=1)
            desk = desk_at(place_of(out))
            raters = desk.register.invite(("ann", "bob", "foe"))
            for turn in range(4):
                for rater in raters:
                    if handed := desk.next(rater.id):
                        texts = [a.text for a in handed.sheet.answers]
                        p = float((texts[0] < texts[1]) != (rater.name == "foe")) if len(texts) > 1 else None
                        said = {"kind": "preference", "first_better": p} if p is not None else {
                            "kind": "rating", "score": 0.2 if rater.name == "foe" else 0.8
                        }  # fmt: skip
                        said |= {"case": handed.sheet.case, "evaluator": rater.name, "seconds": 2.0}
                        desk.say(rater.id, handed.id, FEEDBACK.validate_python(said))
                if early and turn == 1:
                    with pytest.raises(Unfinished, match="4 of 4 cases still wait"):
                        build.run(Study.load(plan), Store(out), workers=1)
            assert level < 2
            close_all()
        build.run(Study.load(plan), Store(out), workers=1)
        desk, store = desk_at(place_of(out)), Store(out, create=False)
        kept = [desk.ledger.weights(node.key) for node in desk.register.progress()[0]]
        assert [list(w) for w in kept] == [["0"], ["0"]]
        assert all(w["0"]["ann"] == w["0"]["bob"] > w["0"]["foe"] for w in kept)
        nodes = overseen(desk, Watch(desk))["nodes"]
        key, node = next((n.key, n) for n in assemble(Study.load(plan).arms[0].plan).values())
        everybody = judges(store, key, ["0"], node.task, desk)
        assert list(everybody.said) == ["first, ann", "first, bob", "first, foe"]
        assert len(judges(store, key, ["0"], node.task).said) == 1, "the record has but their common verdict"
        found, count = agreement([everybody])
        assert (count, found.n) == (3, 4)
        assert found.mean < 0.1, "one of three always says the opposite"
        assert {tuple(sorted(n["weights"])) for n in nodes} == {("ann", "bob", "foe")}
        close_all()
        records.append(sorted(
            f.body for k, s in store.places() if s == "0/feedback" for f in store.read(k, s, FEEDBACK).values()
        ))  # fmt: skip
    assert records[0] == records[1]
    merged = [FEEDBACK.validate_json(body) for body in records[0]]
    assert len(merged) == 8
    compared = [f.first_better for f in merged if f.kind == "preference"]
    assert all(p < 0.2 or p > 0.8 for p in compared), "two of three would be a third, or two"


EVEN = r"\d*[02468]"
TERMS = UNGATED.replace('"people"', '{ use = "people", kinds = ["term", "preference"] }').replace(
    'policy    =', 'terms = [{ use = "length" }, { use = "pattern", weight = 0 }]\npolicy    ='
).replace("n = 4", "n = 32").partition("[node.total]")[0]  # fmt: skip


def test_a_person_edits_what_is_paid_for_and_the_agent_is_trained_on_that(tmp_path: Path) -> None:
    even = {}
    for edits in (False, True):
        plan, out = tmp_path / "people.toml", tmp_path / f"out-{edits}"
        plan.write_text(TERMS)
        with pytest.raises(Unfinished):
            build.run(Study.load(plan), Store(out), workers=1)
        desk = desk_at(place_of(out))
        served = Served(desk, names=("ann",))
        try:
            page, ann = served.browser("ann"), served.script("ann")
            text = page.get("/").text
            fields = {**proof_in(text), "term": "1", "weight": "50", "set-pattern": EVEN}
            assert "What should be paid for?" in text
            if edits:
                told = page.post("/judge", data={**fields, "set-pattern": "["}).text
                assert "Not kept: &#39;pattern&#39;, pattern: " in told
                assert "is not a regular expression" in told
                assert "Not kept" not in page.post("/judge", data=fields).text
            while (answer := ann.get("/api/case")).status_code == 200:
                given = answer.json()
                skip = {"case": given["case"], "kind": "preference", "first_better": 0.5}
                assert ann.post("/api/feedback", json=skip).status_code == 201
        finally:
            served.close()
            close_all()
        build.run(Study.load(plan), Store(out), workers=1)
        store = Store(out, create=False)
        (arm,) = store.read("study", "arms", Arm).values()
        node = assemble(Study.load(plan).arms[0].plan)["block"]
        assert arm.nodes["block"] == node.key
        exam = [e for e in store.read(node.key, "exam", Exam).values() if e.moment == "round-0"][-1]
        even[edits] = sum(int(answer) % 2 == 0 for answer in exam.answers), len(exam.answers)
        again = published(node, store).assistant
        items = [Item(task="column-sum", prompt=prompt) for prompt in exam.prompts]
        seeds = [Seed(0).at(i) for i in range(len(items))]
        said = [texts[0] for texts in again.respond(items, seeds=seeds)]
        assert (sum(int(text) % 2 == 0 for text in said) == len(said)) is edits, "what is read back has the edit too"
        if edits:
            recorded = list(store.read(node.key, "0/feedback", FEEDBACK).values())
            expected = {"term": 1, "use": "pattern", "weight": 50.0, "settings": {"pattern": EVEN}}
            found = recorded[0].model_dump()
            assert {k: found[k] for k in expected} == expected
    assert even[True] == (40, 40)
    assert even[False][0] < 32, "of 40 about a half"


def test_the_page_says_of_a_helper_what_its_gate_counted(tmp_path: Path) -> None:
    """`GateResult.agreed` counts no answers that were best: where hardly anything is told apart, all are."""
    desk = desk_at(tmp_path / "desk.sqlite")
    task = TASKS.build("column-sum", {"length": 4})
    item = Item(task="column-sum", prompt="Add up: 1 2 3 4")
    exhibit = Exhibit(text="10", agent="block", query=Query(subtask="block", item=item))
    responses = tuple(Response(item=item.id, text=text) for text in ("10", "11"))
    case = Case(item=item, responses=responses, exhibits=(exhibit,), place="0/0")
    helpers = {"block": Known("block", 0, task, 5, 4)}
    desk.tray.put(KEY, "0", [sheet_of(task, case, node="n", level=1, helpers=helpers, kinds=["preference"])])
    served = Served(desk, names=("ann",))
    try:
        text = served.browser("ann").get("/").text
        assert "its own user agreed with it on 4 of 5" in text
        assert AGREES in text
    finally:
        served.close()
        close_all()


def test_a_refusal_begins_with_a_capital_and_is_else_as_it_was_written() -> None:
    assert _sentence(Refused("the helper 'Word-1' HAS none")) == "The helper 'Word-1' HAS none."


def test_a_mask_is_made_by_the_form(tmp_path: Path) -> None:
    desk = desk_at(tmp_path / "desk.sqlite")
    task = TASKS.build("column-sum", {"length": 4})
    item = Item(task="column-sum", prompt="Add up: 1 2 3 4")
    responses = tuple(Response(item=item.id, text=text) for text in ("it is ten", "11"))
    case = Case(item=item, responses=responses, place="0/0")
    desk.tray.put(KEY, "0", [sheet_of(task, case, node="n", level=0, helpers={}, kinds=["mask", "preference"])])
    served = Served(desk, names=("ann",))
    try:
        page = served.browser("ann")
        text = page.get("/").text
        assert text.count('data-kind="mask"') == 1, "of one word nothing can be marked"
        fields = {**proof_in(text), "part-2": "1", "good": "better"}
        none = {name: value for name, value in fields.items() if name != "part-2"}
        assert "mark at least one" in page.post("/judge", data=none).text
        assert "Not kept" not in page.post("/judge", data=fields).text
        ((found,),) = desk.tray.collect(KEY, "0").values()
        assert (found.kind, found.response, found.marks, found.good) == ("mask", 0, (False, False, True), 1.0)
    finally:
        served.close()
        close_all()


# -- the interface ----------------------------------------------------------------------------------------------------


def test_the_next_case_comes_and_is_judged_once(served: Served) -> None:
    ann, bob = served.script("ann"), served.script("bob")
    given = ann.get("/api/case").json()
    assert ann.get("/api/case").json()["case"] == given["case"]
    other = bob.get("/api/case").json()
    assert other["case"] != given["case"]
    assert ann.post("/api/feedback", json=verdict(given)).status_code == 201
    again = ann.post("/api/feedback", json=verdict(given))
    assert (again.status_code, again.json()) == (409, {"detail": "you have judged this case already"})
    assert ann.post("/api/feedback", json=verdict(other)).status_code == 409, "it is in bob's hands"
    assert ann.post("/api/undo").json() == {"case": given["case"]}
    assert ann.get("/api/case").json()["case"] == given["case"]
    for _ in range(2):
        ann.post("/api/feedback", json=verdict(ann.get("/api/case").json()))
    assert ann.get("/api/case").status_code == 204
    assert bob.post("/api/undo").status_code == 409


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "preference", "first_better": 2}, "first_better: Input should be less than or equal to 1"),
        ({"kind": "preference"}, "first_better: Field required"),
        ({"kind": "preference", "first_better": 1, "extra": 1}, "extra: Extra inputs are not permitted"),
        ({"kind": "rating", "score": 1}, "kind: preference or abstention is asked here (got 'rating')"),
        ({"kind": "nonsense"}, "kind: preference or abstention is asked here (got 'nonsense')"),
        ({"kind": "abstention", "reason": " "}, "text: it is empty"),
        ({"kind": "preference", "first_better": 1, "seconds": -1}, "seconds: Input should be greater than"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_reason(served: Served, change: dict, why: str) -> None:
    ann = served.script("ann")
    given = ann.get("/api/case").json()
    answer = ann.post("/api/feedback", json={"case": given["case"], **change})
    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert ann.post("/api/feedback", json=verdict(given)).status_code == 201, "and nothing was kept"


def test_who_shows_no_link_is_not_let_in(served: Served) -> None:
    nobody = served._client()
    for method, path in (
        ("GET", "case"),
        ("POST", "feedback"),
        ("POST", "undo"),
        ("POST", "opened"),
        ("POST", "ask"),
        ("GET", "progress"),
    ):
        answer = nobody.request(method, f"/api/{path}", json={"case": "x", "kind": "x", "exhibit": "x"})
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    for token in ("1", "1.", served.token("ann")[:-1], served.token("ann").replace("1.", "2."), "0.é", "x.y.z"):
        told = nobody.get("/api/case", headers=[(b"authorization", f"Bearer {token}".encode())])
        assert told.status_code == 401
    assert nobody.post("/session", data={"token": "1.nonsense"}).status_code == 401
    assert served.script("ann").get("/api/progress").status_code == 403
    assert served.script("owner").get("/api/case").status_code == 403


def test_the_time_is_what_the_page_counted_and_no_more_than_passed(served: Served) -> None:
    ann = served.script("ann")
    given = ann.get("/api/case").json()
    long = ann.post("/api/feedback", json={**verdict(given), "seconds": 999.0}).json()["feedback"]["seconds"]
    assert long < 5
    given = ann.get("/api/case").json()
    assert ann.post("/api/feedback", json={**verdict(given), "seconds": 0.0}).json()["feedback"]["seconds"] == 0


def test_the_interface_is_described(served: Served) -> None:
    told = httpx.get(f"{served.base}/openapi.json").json()
    paths = {f"{method} {path}" for path, methods in told["paths"].items() for method in methods}
    assert paths == {
        "get /api/case", "post /api/feedback", "post /api/undo", "post /api/opened", "post /api/ask",
        "get /api/progress",
    }  # fmt: skip
    assert {"201", "409", "422"} <= set(told["paths"]["/api/feedback"]["post"]["responses"])
    assert httpx.get(f"{served.base}/docs").status_code == 404, "its page would load scripts from elsewhere"


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_works_by_its_forms_alone(served: Served) -> None:
    ann = served.browser("ann")
    page = ann.get("/").text
    assert "0 judged, 3 to go" in page
    fields = proof_in(page)
    page = ann.post("/judge", data={**fields, "better": "0", "strength": "slightly", "seconds": "0.5"}).text
    assert "1 judged, 2 to go" in page
    page = ann.post("/judge", data={**fields, "better": "1"}).text
    assert "Not kept: you have judged this case already." in page
    page = ann.post("/undo", data={"proof": fields["proof"]}).text
    assert proof_in(page)["case"] == fields["case"]
    page = ann.post("/judge", data={**proof_in(page), "better": "0", "strength": "slightly"}).text
    page = ann.post("/judge", data={**proof_in(page), "kind": "abstention"}).text
    page = ann.post("/judge", data={**proof_in(page), "better": "x"}).text
    assert "Not kept: which is better: a number is needed." in page
    page = ann.post("/judge", data={**proof_in(page), "better": "0.5"}).text
    assert "Nothing waits for you" in page
    said = [f[0] for f in served.desk.tray.collect(KEY, "0").values()]
    assert [getattr(f, "first_better", f.kind) for f in said] == [0.25, "abstention", 0.5]
    page = ann.post("/undo", data={"proof": fields["proof"]}).text
    assert "The run has taken your last verdict already: it can no longer be undone." in page


def test_an_approval_without_a_choice_is_none(tmp_path: Path) -> None:
    desk = desk_at(tmp_path / "desk.sqlite")
    desk.tray.put(KEY, "0", [sheet.model_copy(update={"kinds": ("approval",)}) for sheet in sheets(2)])
    served = Served(desk)
    try:
        ann = served.browser("ann")
        page = ann.get("/").text
        for said in ({}, {"approved": ""}, {"approved": "maybe"}):
            answer = ann.post("/judge", data={**proof_in(page), **said})
            assert answer.status_code == 422
            assert "Not kept: approved: say whether it will do, by one of the two buttons." in answer.text
        for said in ("no", "yes"):
            page = ann.post("/judge", data={**proof_in(page), "approved": said}).text
        kept = [f.approved for told in desk.tray.collect(KEY, "0").values() for f in told]
        assert kept == [False, True]
    finally:
        served.close()
        close_all()


def test_no_form_of_another_page_is_taken(served: Served) -> None:
    ann = served.browser("ann")
    fields = proof_in(ann.get("/").text) | {"better": "1"}
    for data, headers in (
        ({**fields, "proof": ""}, {}),
        ({**fields, "proof": "x" * 43}, {}),
        (fields, {"origin": "http://evil.example"}),
        (fields, {"sec-fetch-site": "cross-site"}),
        (fields, {"sec-fetch-site": "same-site", "origin": "null"}),
    ):
        assert ann.post("/judge", data=data, headers=headers).status_code == 403
    call = {"case": fields["case"], "kind": "abstention", "reason": "x"}
    assert ann.post("/api/feedback", json=call).status_code == 403, "a session's call brings its proof along, too"
    assert ann.post("/api/feedback", json=call, headers={"x-proof": fields["proof"]}).status_code == 201


def test_a_session_is_for_this_page_alone(served: Served) -> None:
    client = served._client()
    answer = client.post("/session", data={"token": served.token("ann")})
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert served.token("ann") not in cookie
    forged = cookie.split("=", 1)[1].split(";")[0].replace('"', "").replace("1:", "0:", 1)
    assert httpx.get(f"{served.base}/owner", headers={"cookie": f"rrm_test={forged}"}).status_code == 401
    assert served.browser("ann").get("/owner").status_code == 403
    owner = served.browser("owner").get("/owner").text
    assert f"{served.base}/#{served.token('bob')}" in owner


@pytest.mark.parametrize("host", ["judge.example.org", "127.0.0.1:8710"], ids=["kept", "rewritten"])
def test_people_come_through_a_proxy(tmp_path: Path, host: str) -> None:
    """Which hands on over plain HTTP what it took with TLS, with the host that was asked for, or another."""
    desk, url = desk_at(tmp_path / "desk.sqlite"), "https://judge.example.org"
    desk.tray.put(KEY, "0", sheets(1))
    (ann,) = desk.register.invite(["ann"])
    doors = Doors(desk, "rrm_test", origin_of(f"{url}:443/"))
    proxy = TestClient(application(desk, doors, GoingOn(desk, None)), base_url=f"http://{host}", follow_redirects=False)
    try:
        sent = {"origin": url, "sec-fetch-site": "same-origin"}
        answer = proxy.post("/session", data={"token": doors.token(ann.id)}, headers=sent)
        assert "Secure" in answer.headers["set-cookie"]
        sent["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        fields = proof_in(proxy.get("/", headers=sent).text) | {"better": "1"}
        assert proxy.post("/judge", data=fields, headers={**sent, "origin": f"{url}.evil"}).status_code == 403
        assert proxy.post("/judge", data=fields, headers=sent).status_code == 303
        assert proxy.get("/", headers={"host": "evil.example"}).status_code == 400
        owner = {"authorization": f"Bearer {doors.token(OWNER)}"}
        assert f'"{url}/#{doors.token(ann.id)}"' in proxy.get("/owner", headers=owner).text
    finally:
        close_all()


@pytest.mark.parametrize(
    "url", ["judge.example.org", "ftp://a", "https://", "https://a/b", "https://a?b", "https://ann@a", "https://a:x"]
)
def test_what_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no path behind it, as in https://judge.example.org"):
        origin_of(url)


def test_the_owner_pauses_a_rater(served: Served) -> None:
    owner, ann = served.browser("owner"), served.browser("ann")
    proof = re.search(r'name="proof" value="([^"]+)"', owner.get("/owner").text)[1]
    assert "Go on" in owner.post("/pause", data={"proof": proof, "rater": "ann"}).text
    assert "has paused you" in ann.get("/").text
    assert served.script("ann").get("/api/case").status_code == 204
    owner.post("/pause", data={"proof": proof, "rater": "ann"})
    assert served.script("ann").get("/api/case").status_code == 200


def test_every_answer_has_strict_headers(served: Served) -> None:
    ann, script = served.browser("ann"), served.script("ann")
    policies = set()
    for answer in (
        ann.get("/"), ann.get("/owner"), ann.get("/static/judge.js"), ann.get("/nowhere"), script.get("/api/case"),
        ann.get("/", headers={"host": "evil.example"}), ann.post("/judge"),
    ):  # fmt: skip
        policy = answer.headers["content-security-policy"]
        policies.add(policy)
        for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert len(policies) == 7, "a nonce is used once"


def test_the_page_is_light_and_loads_nothing_from_elsewhere(served: Served) -> None:
    ann = served.browser("ann")
    page = ann.get("/").text
    asked = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert all(url.startswith(("/", "data:")) and not url.startswith("//") for url in asked), asked
    parts = [page, *(ann.get(url).text for url in dict.fromkeys(asked) if url.startswith("/static"))]
    assert len(parts) == 3
    assert sum(len(part.encode()) for part in parts) < 60_000
    assert not re.search(r"<[^>]+\son\w+=|javascript:|style=", page)


def test_a_name_that_somebody_elses_page_gives_this_server_is_refused(served: Served) -> None:
    ann = served.script("ann")
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert ann.get("/api/case", headers={"host": host}).status_code == 400, host
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:80", "192.168.0.7:8710"):
        assert ann.get("/api/case", headers={"host": host}).status_code == 200, host


def test_large_requests_are_refused(served: Served) -> None:
    ann = served.script("ann")
    assert ann.post("/api/feedback", content=b"x" * (LARGEST + 1)).status_code == 413

    def in_parts() -> Iterator[bytes]:
        for _ in range(LARGEST // 1000 + 2):
            yield b"x" * 1000

    form = {"content-type": "application/x-www-form-urlencoded"}
    for path, headers in (("/api/feedback", {}), ("/judge", form), ("/session", form)):
        answer = ann.post(path, content=in_parts(), headers=headers)
        assert (answer.status_code, answer.text) == (413, f"a request has at most {LARGEST} bytes\n")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/judge", "/session"):
        answer = ann.post(path, content="&".join(f"a{i}=1" for i in range(5001)), headers=form)
        assert (answer.status_code, answer.json()) == (422, {"detail": "a form has at most 5000 fields"})
    assert ann.get("/api/case").status_code == 200


def test_too_many_requests_wait() -> None:
    now = [0.0]
    guard = Guard(None, "127.0.0.1", clock=lambda: now[0])  # type: ignore[arg-type]
    assert sum(guard._may("ann") for _ in range(300)) == 200
    assert guard._may("bob")
    now[0] += 0.1
    assert sum(guard._may("ann") for _ in range(300)) == 5


# -- hostile text -----------------------------------------------------------------------------------------------------

NASTY = (
    *HOSTILE,
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<svg><animate onbegin=alert(1)>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>", "<a href=javascript:alert(1)>x</a>", "javascript:alert(1)",
    "<base href=//evil>",
    "<meta http-equiv=refresh content=0;url=//evil>", "<link rel=stylesheet href=//evil>",
    "<style>*{display:none}</style>",
    "<form action=//evil><input name=token>", "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "</textarea><script>alert(1)</script>", "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->", "<![CDATA[<script>alert(1)</script>]]>",
    "<math><mtext><script>alert(1)</script>",
    "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "${alert(1)}", "#{7*7}", "{{ config }}", "{{ self.__init__ }}",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "\x00<script\x00>alert(1)</script>", "<scr\x00ipt>", "<ScRiPt>alert(1)</sCrIpT>",
    "<script src=//evil></script>",
    "<object data=//evil>", "<embed src=//evil>", "<video src=//evil>", "<button formaction=//evil>",
    "&lt;script&gt;",
    "&#60;script&#62;alert(1)", "' onmouseover='alert(1)", '" onmouseover="alert(1)', "` onmouseover=`alert(1)",
    "\u202egnp.exe", "a\u200bb", "\ufeff", "\u2066\u2067", "\U000e0041\U000e0042", "\x1b[2J\x1b]0;x\x07",
    "\r\nSet-Cookie: x=1",
    "a" * 15_000, "\n" * 5000, "a\u0301" + "\u0301" * 500, "<b>A is better</b>", "Answer A", "</section></main>",
)  # fmt: skip


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_whatever_an_agent_wrote_is_text(tmp_path: Path) -> None:
    from rrm.blocks import Code, Frames, Table, Text
    from rrm.registry import TASKS

    assert len(NASTY) >= 50
    plain = TASKS.build("column-sum")

    class Hostile(type(plain)):  # type: ignore[misc]
        def show(self, item: Item, text: str | None = None) -> Any:
            shown = item.prompt if text is None else text
            frame = Frames(frames=(Text(text=shown),), captions=(shown,))
            table = Table(columns=(shown,), rows=((shown,),))
            return Text(text=shown), Code(text=shown, language=shown), table, frame

    task = Hostile()
    desk = desk_at(tmp_path / "desk.sqlite")
    laid = []
    for i, nasty in enumerate(["harmless", *NASTY]):
        item = Item(task="column-sum", prompt=nasty)
        responses = tuple(Response(item=item.id, text=t, agent=nasty) for t in (nasty, "2"))
        query = Query(subtask="block", item=item)
        exhibit = Exhibit(text=nasty, agent=nasty, title=nasty, kind=nasty, query=query)
        case = Case(item=item, responses=responses, exhibits=(exhibit,), place=f"0/{i}")
        helpers = {"block": Known(nasty, 0, task, 5, 4)}
        kinds = ("preference", "correction", "demonstration", "ranking")
        laid.append(sheet_of(task, case, node=nasty, level=1, helpers=helpers, kinds=kinds, folded=False))
    desk.tray.put(KEY, "0", laid)
    served = Served(desk)
    try:
        ann = served.browser("ann")
        expected: list[tuple[str, tuple[str, ...]]] = []
        for i, nasty in enumerate(["harmless", *NASTY]):
            text = ann.get("/").text
            page = Page()
            page.feed(text)
            tags = [(tag, tuple(sorted(attrs))) for tag, attrs in page.tags]
            expected = expected or tags
            if nasty:
                assert tags == expected, f"{nasty[:60]!r} changed what the page is made of"
            seen = page.text.replace("\r\n", "\n")
            assert inert(nasty, 20_000).strip() in seen, nasty[:60]
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", text)
            assert ann.post("/judge", data={**proof_in(text), "kind": "abstention"}).status_code == 200
            assert i == desk.register.of_rater(served.raters["ann"])[0] - 1
    finally:
        served.close()
        close_all()


# -- the command ------------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_told_in_one_line(study: Path, tmp_path: Path, rrm: Rrm) -> None:
    assert "there is no run here" in rrm("judge", tmp_path / "nowhere").err
    assert rrm("run", study, "--out", tmp_path / "done", "--quiet").code == 0
    said = rrm("judge", tmp_path / "done")
    assert said.code == 1
    assert "nobody is asked in a browser here: its evaluators are simulated" in said.err
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(PEOPLE)
    said = rrm("run", plan, "--out", out)
    assert said.code == 3
    assert f"`rrm judge {out}`" in said.err
    assert "--url judge: write where people reach the page" in rrm("judge", out, "--url", "judge").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = rrm("judge", out, "--port", taken.getsockname()[1])
        assert said.code == 1
        assert re.search(r"cannot listen on 127.0.0.1, port \d+: Address already in use. Give another --port", said.err)
    said = rrm("run", out, "--fast")
    assert said.code == 2
    assert "only a plan takes options" in said.err


def test_a_finished_run_has_nothing_to_judge(tmp_path: Path, rrm: Rrm) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(UNGATED)
    assert rrm("run", plan, "--out", out).code == 3
    for _ in range(2):
        desk = desk_at(place_of(out))
        (ann,) = desk.register.invite(["ann"])
        while handed := desk.next(ann.id):
            said = {"kind": "abstention", "case": handed.sheet.case, "evaluator": "ann", "reason": "x"}
            desk.say(ann.id, handed.id, FEEDBACK.validate_python(said))
        close_all()
        code = rrm("run", out).code
    assert code == 0
    assert "this run is finished: nothing waits to be judged" in rrm("judge", out).err


def test_links_come_as_json_and_the_server_serves_them(tmp_path: Path, rrm: Rrm) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(PEOPLE)
    assert rrm("run", plan, "--out", out).code == 3
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "rrm", "judge", str(out), "--port", port, "--raters", "2", "--json", "--no-train"]
    command += ["--url", "http://Judge.example.org:80/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        links = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [(link["role"], link["name"]) for link in links] == [
            ("owner", "owner"), ("rater", "rater-1"), ("rater", "rater-2"),
        ]  # fmt: skip
        base, token = links[1]["url"].split("#")
        assert base == "http://judge.example.org/"
        assert token == links[1]["token"]
        for _ in range(100):
            try:
                headers = {"host": "judge.example.org", "authorization": f"Bearer {token}"}
                answer = httpx.get(f"http://127.0.0.1:{port}/api/case", headers=headers)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        assert answer.json()["sheet"]["node"] == "block"
        process.terminate()
        assert "Traceback" not in process.stderr.read()


@pytest.fixture
def invited(rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The names of the raters whose links `rrm judge` prints, and what it says of them."""
    monkeypatch.setattr("rrm.cli.judge._serve", lambda desk, app, going, listening: desk.close())

    def call(out: Path, *more: object) -> tuple[list[str], str]:
        said = rrm("judge", out, "--port", 0, "--json", *more)
        links = [json.loads(line) for line in said.out.splitlines()]
        return [link["name"] for link in links if link["role"] == "rater"], said.err

    return call


def test_as_many_are_invited_as_judge_each_case(tmp_path: Path, rrm: Rrm, invited: Any) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(UNGATED.replace('"people"', '{ use = "people", raters = 3 }'))
    assert rrm("run", plan, "--out", out).code == 3
    names, told = invited(out, "--name", "ann")
    assert names == ["ann"]
    assert "Each case is to be judged by 3 people, and 1 are invited: the run cannot go on." in told
    assert invited(out) == (["ann", "rater-1", "rater-2"], "")
    assert invited(out, "--raters", 1) == (["rater-1"], ""), "the others have their links"


def test_seats_of_a_trial_are_numbered_among_people(study: Path, tmp_path: Path, rrm: Rrm, invited: Any) -> None:
    """Of four raters two are simulated: the first two links have cases, whatever else the people among them are."""
    people = '["simulated", "people", "simulated", { use = "people", folded = false }]'
    study.write_text(STUDY + f"[trial]\nraters = 4\ncases = 4\npeople = {people}\n")
    out = tmp_path / "out"
    assert rrm("run", study, "--out", out, "--quiet").code == 3
    names, told = invited(out, "--raters", 1)
    assert names == ["rater-1"]
    assert "The trial has cases for 2 people, each their own, and 1 are invited: it cannot be done" in told
    assert invited(out) == (["rater-1", "rater-2"], "")
    names, told = invited(out, "--name", "zoe", "--name", "rater-2")
    assert names == ["zoe", "rater-2"]
    assert told == "Cases of the trial are for rater-1, who was invited earlier: --name rater-1 has their link.\n"
    desk = desk_at(place_of(out))
    handed = {rater.name: desk.next(rater.id) for rater in desk.register.all()}
    assert {name: h.sheet.folded for name, h in handed.items() if h} == {"rater-1": True, "rater-2": False}
    close_all()


# -- going on ---------------------------------------------------------------------------------------------------------


def runs(folder: Path, code: int, before: str = "") -> tuple[list[str], Path]:
    """A command that leaves a mark each time that it is run, and ends with that exit code."""
    ran = folder / "ran"
    source = f"import sys; open({str(ran)!r}, 'a').write('x'); print('why', file=sys.stderr); {before}"
    return [sys.executable, "-c", f"{source}\nraise SystemExit({code})"], ran


def settled(going: GoingOn, ran: Path, times: int) -> None:
    """Waits until it was run so often, and then for as long as five more would have taken to begin."""
    end = time.monotonic() + 60
    while not (ran.exists() and len(ran.read_text()) >= times and going.state != "training") and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)
    assert len(ran.read_text()) == times


def judged(desk: Desk, rater: int) -> None:
    handed = desk.next(rater)
    assert handed
    said = {"kind": "abstention", "case": handed.sheet.case, "evaluator": "ann", "reason": "x"}
    desk.say(rater, handed.id, FEEDBACK.validate_python(said))


@pytest.mark.parametrize("code", [3, 1], ids=["unfinished", "failed"])
def test_a_run_that_can_go_no_further_waits_for_the_desk_to_change(tmp_path: Path, code: int) -> None:
    """Cases of one node are judged, which the run does not take: it is run again once another verdict came."""
    desk = desk_at(tmp_path / "desk.sqlite")
    (ann,) = desk.register.invite(["ann"])
    desk.tray.put(KEY, "0", sheets(1))
    judged(desk, ann.id)
    desk.tray.put("fedcba9876543210", "0", sheets(2))
    command, ran = runs(tmp_path, code)
    going = GoingOn(desk, command, grace=0, every=0.02)
    going.start()
    try:
        settled(going, ran, 1)
        assert going.state == ("waiting for verdicts" if code == 3 else "stopped: why")
        judged(desk, ann.id)
        settled(going, ran, 2)
    finally:
        going.stop()
        close_all()


def test_a_run_that_failed_is_tried_again_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another `rrm run` was at work, which nothing at the desk tells: after .1 seconds, .2, .4…"""
    monkeypatch.setattr("rrm.web.going_on.RETRY", 0.1)
    desk = desk_at(tmp_path / "desk.sqlite")
    command, ran = runs(tmp_path, 1)
    going = GoingOn(desk, command, grace=0, every=0.02)
    going.start()
    try:
        time.sleep(6)
        assert 2 <= len(ran.read_text()) <= 6
    finally:
        going.stop()
        close_all()


def test_a_run_that_heeds_no_word_does_not_outlive_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrm.web.going_on.LAST", 0.3)
    pid = tmp_path / "pid"
    source = f"""
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(pid)!r}).write_text(str(os.getpid()) + " ")
time.sleep(60)
"""
    going = GoingOn(desk_at(tmp_path / "desk.sqlite"), [sys.executable, "-c", source], grace=0, every=0.02)
    going.start()
    end = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().endswith(" ")) and time.monotonic() < end:
        time.sleep(0.02)
    number = int(pid.read_text())
    going.stop()
    try:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        close_all()


def test_what_is_of_no_plan_any_more_is_put_away_after_a_run(tmp_path: Path) -> None:
    desk = desk_at(tmp_path / "desk.sqlite")
    (ann,) = desk.register.invite(["ann"])
    desk.tray.put(KEY, "0", sheets(1))
    judged(desk, ann.id)
    command, ran = runs(tmp_path, 3)
    keys = {KEY, "fedcba9876543210"}
    going = GoingOn(desk, command, waits=lambda: Waits(keys, ()), grace=0, every=0.02)
    desk.tray.put("fedcba9876543210", "0", sheets(1))
    going.start()
    try:
        settled(going, ran, 1)
        assert set(desk.tray.waits()) == keys
        keys.remove("fedcba9876543210")  # the plan was changed, and run with this folder
        desk.tray.put(KEY, "1", sheets(2)[1:])
        judged(desk, ann.id)
        judged(desk, ann.id)
        settled(going, ran, 2)
        assert set(desk.tray.waits()) == {KEY}
    finally:
        going.stop()
        close_all()


# -- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "places"),
    [("B", [[1], [0, 2]]), ("b > c", [[1], [2], [0]]), ("A=C>B", [[0, 2], [1]]), ("3 > 1", [[2], [0], [1]]),
     ("A = B = C", [[0, 1, 2]])],
)  # fmt: skip
def test_an_order_is_read(order: str, places: list[list[int]]) -> None:
    assert tiers(order, ["A", "B", "C"]) == places
