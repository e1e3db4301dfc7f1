"""Drill-down: a helper's answer opens into what its own helpers say of it, to any depth, and what was said is kept."""

from __future__ import annotations

import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desks import close_all, desk_at
from test_judge import Served

from rrm import Case, Exhibit, Store, Study, build
from rrm.desk import Desk, place_of
from rrm.desk.gold import Gold
from rrm.desk.sheet import sheet_of
from rrm.errors import Unfinished
from rrm.hearing import known, serving
from rrm.job import assemble_node, jobs, recorded
from rrm.records import Rejudged
from rrm.web.drill import Drill
from rrm.web.going_on import GoingOn

DEEP = """\
# Sums in four levels; people judge the last.
#   rrm run deep.toml
seed = 3
effort = { rounds = 1, cases = 4, exam = 8 }
gate = { items = 2, on_fail = "off" }

[cast]
assistant = { use = "careless-adder", slip = 0.5 }
evaluator = { use = "simulated", budget = 5 }
reward    = { use = "tally" }
policy    = { use = "best-of-n", n = 2 }

[node.two]
task = { use = "column-sum", length = 2, block = 2 }

[node.four]
task = { use = "column-sum", length = 4, block = 2 }
helped_by = { block = "two" }

[node.eight]
task = { use = "column-sum", length = 8, block = 4 }
helped_by = { block = "four" }

[node.sixteen]
task = { use = "column-sum", length = 16, block = 8 }
helped_by = { block = "eight" }
cast = { evaluator = "people" }
"""


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which the last level waits for people."""
    folder = tmp_path_factory.mktemp("deep")
    (folder / "deep.toml").write_text(DEEP)
    with pytest.raises(Unfinished):
        build.run(Study.load(folder / "deep.toml"), Store(folder / "out"), workers=1)
    return folder / "out"


class Deep(Served):
    """A server beside a run, whose helpers can be asked."""

    def __init__(self, run: Path, desk: Desk) -> None:
        self.run = run
        super().__init__(desk, GoingOn(desk, None), drill=Drill(desk, Store(run, create=False)))


@pytest.fixture
def beside(deep: Path, tmp_path: Path) -> Iterator[Deep]:
    shutil.copytree(deep, tmp_path / "out")
    found = Deep(tmp_path / "out", desk_at(place_of(tmp_path / "out")))
    yield found
    found.close()
    close_all()


def first_open(ann: Any) -> tuple[str, dict[str, Any]]:
    """A case, and its first exhibit, opened."""
    given = ann.get("/api/case").json()
    exhibit = given["sheet"]["exhibits"][0]["exhibit"]
    return given["case"], ann.post("/api/opened", json={"case": given["case"], "exhibit": exhibit}).json()


def test_an_answer_opens_to_any_depth(beside: Deep) -> None:
    ann = beside.script("ann")
    case, exhibit = first_open(ann)
    levels = []
    while exhibit["level"]:
        answer = ann.post("/api/ask", json={"case": case, "exhibit": exhibit["exhibit"]})
        assert answer.status_code == 200, answer.text
        below = answer.json()["asked"]
        numbers = [row[0] for e in below for block in e["asked"] if block["type"] == "table" for row in block["rows"]]
        (above,) = [block["rows"] for block in exhibit["asked"] if block["type"] == "table"]
        assert numbers == [row[0] for row in above], "they are asked of the same column, part by part"
        levels.append({(e["who"], e["level"], e["about"]) for e in below})
        exhibit = below[-1]
    assert levels == [{("four", 1, None)}, {("two", 0, None)}]
    refused = ann.post("/api/ask", json={"case": case, "exhibit": exhibit["exhibit"]})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "exhibit: two has no helpers: it answers by itself"


def test_what_is_said_is_what_the_published_helper_says_and_is_kept(beside: Deep) -> None:
    ann, rater = beside.script("ann"), beside.raters["ann"]
    case, exhibit = first_open(ann)
    what = {"case": case, "exhibit": exhibit["exhibit"]}
    told = ann.post("/api/ask", json=what).json()
    assert ann.post("/api/ask", json=what).json() == told
    assert ann.get("/api/case").json()["asked"] == {exhibit["exhibit"]: told["asked"]}
    (asked,) = beside.desk.holds(rater, case).asked
    assert [e.id for e in asked.said] == [e["exhibit"] for e in told["asked"]]
    store = Store(beside.run, create=False)
    eight = next(assemble_node(j) for j in jobs(recorded(store))[0] if j.name == "eight")
    assert asked.key == eight.key
    agent = serving(eight, store)["block"].assistant
    for said in asked.said:
        assert said.agent == "four"
        draws = {agent.respond([said.query.item], n=1, seeds=[eight.seed.at("test", str(i))])[0][0] for i in range(40)}
        assert said.text in draws
    assert [e["said"][0]["text"] for e in told["asked"]] == [e.text for e in asked.said]
    ann.post("/api/feedback", json={"case": case, "kind": "preference", "first_better": 1})
    ann.post("/api/undo")
    assert beside.desk.holds(rater, case).asked == (asked,), "an undo takes back the verdict, not what was seen"


def test_a_gold_question_opens_as_any_other(beside: Deep) -> None:
    """Else whoever asks would find out which is one."""
    store = Store(beside.run, create=False)
    node = next(assemble_node(j) for j in jobs(recorded(store))[0] if j.name == "sixteen")
    first = store.read(node.key, "0/cases", Case)[0]
    again = first.model_copy(update={"responses": first.responses[::-1], "place": "0/4"})
    shown = sheet_of(node.task, again, node="sixteen", level=3, helpers=known(node, store), kinds=["preference"])
    beside.desk.gold.put(node.key, "0", [(Gold(case=again, worth=(0, 1)), shown)], rate=0.5, tell=False)
    ann, told = beside.script("ann"), []
    for _ in range(4):
        case, exhibit = first_open(ann)
        answer = ann.post("/api/ask", json={"case": case, "exhibit": exhibit["exhibit"]})
        assert answer.status_code == 200, answer.text
        if beside.desk.gold.case(case) or case.endswith(first.id):
            told.append(answer.json())
        ann.post("/api/feedback", json={"case": case, "kind": "preference", "first_better": 1})
    assert len(told) == 2
    assert told[0] == told[1], "and says the same as beside the case that it repeats"


def test_only_what_lies_open_before_the_rater_is_asked_about(beside: Deep) -> None:
    ann, bob = beside.script("ann"), beside.script("bob")
    given = ann.get("/api/case").json()
    case, first = given["case"], given["sheet"]["exhibits"][0]["exhibit"]
    for who, what, status, why in (
        (ann, first, 422, "exhibit: open it first"),
        (ann, "x", 422, "exhibit: there is none of this id beside the case"),
        (bob, first, 409, "this case was not handed to you"),
        (beside.script("owner"), first, 403, "the owner's link does not judge"),
    ):
        answer = who.post("/api/ask", json={"case": case, "exhibit": what})
        assert answer.status_code == status
        assert why in answer.json()["detail"]
    assert beside.desk.holds(beside.raters["ann"], case).asked == ()


@pytest.mark.parametrize("why", ["trial", "rejudge"])
def test_beside_a_case_with_its_own_help_nobody_is_asked(beside: Deep, why: str) -> None:
    """In a trial that would be another arm, and where a run is judged once more, another case."""
    store, key = Store(beside.run, create=False), "fedcba9876543210"
    node = next(assemble_node(j) for j in jobs(recorded(store))[0] if j.name == "sixteen")
    case = store.read(node.key, "0/cases", Case)[0]
    if why == "trial":
        case = case.model_copy(update={"place": "trial/0"})
    else:
        store.append("study", "rejudged", [Rejudged(node=node.key, evaluator={"use": "people"}, key=key)])
    shown = sheet_of(node.task, case, node="sixteen", level=3, helpers=known(node, store), kinds=["preference"])
    beside.desk.tray.put_away([])
    beside.desk.tray.put(key, "0", [shown])
    ann = beside.script("ann")
    laid, exhibit = first_open(ann)
    assert laid.startswith(key)
    assert exhibit["level"], "who has helpers itself"
    refused = ann.post("/api/ask", json={"case": laid, "exhibit": exhibit["exhibit"]})
    assert refused.status_code == 422
    told = {"trial": "this case is of a trial of help: there is no other help", "rejudge": "is judged once more"}
    assert told[why] in refused.json()["detail"]
    browser = beside.browser("ann")
    page = browser.get("/").text
    assert page.count("exhibit-body") == 1
    assert 'action="/ask"' not in page
    form = re.search(r'action="/open".*?</form>', page)
    assert form
    part = browser.post(
        "/open", data=dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[0])), headers={"x-part": "1"}
    )
    assert part.text.count("exhibit-body") == 1
    assert "/ask" not in part.text


def test_a_helper_whose_weights_are_gone_is_told_of(beside: Deep) -> None:
    ann = beside.script("ann")
    case, exhibit = first_open(ann)
    shutil.rmtree(beside.run / "agents")
    answer = ann.post("/api/ask", json={"case": case, "exhibit": exhibit["exhibit"]})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("its helpers cannot be asked: ")
    assert beside.desk.holds(beside.raters["ann"], case).asked == ()


def test_the_page_asks_with_and_without_a_script(beside: Deep) -> None:
    ann = beside.browser("ann")
    page = ann.get("/").text
    assert "/ask" not in page, "what is shut is not asked about"

    def form(page: str, action: str) -> dict[str, str]:
        found = page[page.index(f'action="{action}"') :]
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found[: found.index("</form>")]))

    page = ann.post("/open", data=form(page, "/open")).text
    assert page.count('action="/ask"') == 1
    page = ann.post("/ask", data=form(page, "/ask")).text
    assert page.count('class="below"') == 1
    assert page.count("<b>four</b>") == page.count('action="/ask"') == 2
    part = ann.post("/ask", data=form(page, "/ask"), headers={"x-part": "1"}).text
    assert part.count("<b>two</b>") == 2
    assert "<html" not in part
    assert "/ask" not in part, "nobody is below"
    assert ann.post("/ask", data={**form(page, "/ask"), "proof": ""}).status_code == 403
    gone = ann.post("/ask", data={**form(page, "/ask"), "exhibit": "x"}, headers={"x-part": "1"})
    assert gone.status_code == 422
    assert gone.text.startswith('<p class="said" role="alert">exhibit: there is none')


def test_the_owner_sees_the_graph_with_what_is_trained_and_how_fast_people_are(beside: Deep) -> None:
    ann, owner = beside.script("ann"), beside.browser("owner")
    page = owner.get("/owner").text
    (source,) = re.findall(r'<img class="graph" src="data:image/svg\+xml;base64,([^"]+)"', page)
    svg = b64decode(source).decode()
    assert [name for name in ("two", "four", "eight", "sixteen") if f"✓ {name}<" in svg] == ["two", "four", "eight"]
    assert ">sixteen</text>" in svg
    assert 'alt="Task graph: 3 of 4 nodes are trained: eight, four, two"' in page
    assert "<td>–</td><td>–</td>" in page, "nobody has judged"
    for seconds in (0.001, 0.003, 0.002):
        given = ann.get("/api/case").json()
        said = {"case": given["case"], "kind": "preference", "first_better": 1, "seconds": seconds}
        assert ann.post("/api/feedback", json=said).status_code == 201
    told = beside.script("owner").get("/api/progress").json()["raters"]
    assert [(r["name"], r["pace"]) for r in told] == [("ann", 0.002), ("bob", None)]
    assert "<td>0.0</td>" in owner.get("/owner").text


def test_hostile_answers_are_kept_as_they_are_and_shown_inert(beside: Deep, monkeypatch: pytest.MonkeyPatch) -> None:
    nasty = "<script>alert(1)</script>\u202e\x1b[2J"

    def say(*_: object) -> tuple[Exhibit, ...]:
        return (Exhibit(text=nasty, agent=nasty, title=nasty),)

    monkeypatch.setattr("rrm.web.drill._said", say)
    ann = beside.script("ann")
    case, exhibit = first_open(ann)
    (told,) = ann.post("/api/ask", json={"case": case, "exhibit": exhibit["exhibit"]}).json()["asked"]
    for shown in (told["said"][0]["text"], told["who"], told["title"]):
        assert shown == "<script>alert(1)</script>‹U+202E›‹U+001B›[2J"
    assert beside.desk.holds(beside.raters["ann"], case).asked[0].said[0].text == nasty
    page = beside.browser("ann").get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;‹U+202E›" in page
