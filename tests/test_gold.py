"""Gold questions: mixed in unseen and at the rate, counted right, told if the study wants it, and never learnt from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from desks import close_all, desk_at
from test_judge import UNGATED, Served

from rrm import Case, Item, PlanError, Response, Store, Study, build
from rrm.desk import Desk, place_of
from rrm.desk.gold import Gold, Pace
from rrm.desk.sheet import Sheet, sheet_of
from rrm.errors import TooLate, Unfinished
from rrm.evaluators import _gold
from rrm.evaluators.people import People
from rrm.records import FEEDBACK, Feedback
from rrm.registry import TASKS
from rrm.seed import Seed
from rrm.web.overseen import overseen

KEY = "0123456789abcdef"
TASK = TASKS.build("column-sum", {"length": 4})


def case_of(number: int, *texts: str, stream: str = "0") -> Case:
    item = Item(task="column-sum", prompt=f"Add up: {number // 100} {number % 100} 1 2")
    responses = tuple(Response(item=item.id, text=text) for text in texts)
    return Case(item=item, responses=responses, place=f"{stream}/{number}")


def sheet(case: Case) -> Sheet:
    kind = {1: "rating", 2: "preference"}.get(len(case.responses), "ranking")
    return sheet_of(TASK, case, node="sum", level=0, helpers={}, kinds=[kind])


def laid(
    where: Path | str, count: int, *, rate: float = 0.25, tell: bool = False, wanted: int = 1, turned: bool = False
) -> Desk:
    """A desk with a round of so many comparisons, the first answer of each right (`turned`: of half, the second), and
    gold questions among them."""
    desk = desk_at(where)
    texts = [(str(i // 100 + i % 100 + 3), "0") for i in range(count)]
    cases = [case_of(i, *(t[::-1] if turned and i * 7 % 13 < 6 else t)) for i, t in enumerate(texts)]
    desk.tray.put(KEY, "0", map(sheet, cases), wanted=wanted)
    golds = _gold.of_truth(TASK, cases, rate=rate, seed=Seed(0))
    desk.gold.put(KEY, "0", [(g, sheet(g.case)) for g in golds], rate=rate, tell=tell)
    return desk


def says(desk: Desk, rater: int, name: str, first_better: float | None = None) -> str | None:
    """Judge the next case: by default as is right. Gives its id."""
    handed = desk.next(rater)
    if handed is None:
        return None
    right = float(handed.sheet.answers[0].text != "0")
    p = right if first_better is None else first_better
    body = {"kind": "preference", "first_better": p, "case": handed.sheet.case, "evaluator": name, "seconds": 9.0}
    desk.say(rater, handed.id, FEEDBACK.validate_python(body))
    return handed.id


# -- mixing -----------------------------------------------------------------------------------------------------------


def test_gold_comes_to_each_rater_at_the_rate_and_never_to_the_run(where: Path | str) -> None:
    desk = laid(where, 60, wanted=2)
    ann, bob = (r.id for r in desk.register.invite(["ann", "bob"]))
    came: dict[int, list[bool]] = {ann: [], bob: []}
    to_go = []
    while any(ids := [(who, says(desk, who, str(who))) for who in (ann, bob)]) and any(id for _, id in ids):
        for who, id in ids:
            if id:
                came[who].append(desk.gold.case(id) is not None)
        done, waiting = desk.register.of_rater(ann)
        to_go.append(done + waiting + desk.gold.to_come(ann))
    for golds in came.values():
        assert len(golds) - sum(golds) == 60
        assert 18 <= sum(golds) <= 20, "of 80 a quarter; the last may fall behind the last case"
        assert max(len(run) for run in "".join("g" if g else "." for g in golds).split("g")) <= 8, "spread out"
    assert came[ann] != came[bob], "at moments of their own"
    assert set(to_go) == {to_go[0]}, "no count tells which was one"
    assert desk.tray.is_due()
    taken = desk.tray.collect(KEY, "0")
    assert len(taken) == 60
    assert set(taken) == {sheet(case_of(i, str(i // 100 + i % 100 + 3), "0")).case for i in range(60)}
    assert desk.tray.is_empty(), "what is left of gold holds nothing up"
    assert [(n.cases, n.verdicts) for n in desk.register.progress()[0]] == [(60, 120)]


def test_a_repeated_case_comes_only_to_who_judged_it_a_while_ago(where: Path | str) -> None:
    desk = laid(where, 40, rate=0.5)
    (ann,) = (r.id for r in desk.register.invite(["ann"]))
    seen: list[str] = []
    while id := says(desk, ann, "ann"):
        if case := desk.gold.case(id):
            assert case.item.prompt in seen[:-2], "it repeats what she judged, not just now"
        seen.append((case or case_of(len(seen), "x")).item.prompt if case else _prompt(desk, id))
    assert sum(seen.count(p) > 1 for p in set(seen)) > 10


def _prompt(desk: Desk, id: str) -> str:
    shown = {f"{KEY}-{sheet(case_of(i, str(i // 100 + i % 100 + 3), '0')).case}": i for i in range(100)}
    return case_of(shown[id], "x").item.prompt


def test_the_pace_is_drawn_of_every_stretch_one() -> None:
    for rate in (0.05, 0.1, 0.3, 0.5):
        pace = Pace(rate, "salt")
        places = [pace.after(n) for n in range(400)]
        assert places == sorted(places)
        assert places[-1] == pytest.approx(400 * (1 - rate) / rate, rel=0.02)
        assert all(pace.before(m) == sum(p < m for p in places) for m in range(0, 300, 7))
    assert [Pace(0.1, "a").after(n) for n in range(9)] != [Pace(0.1, "b").after(n) for n in range(9)]


def test_gold_survives_a_restart_and_a_plan_that_was_put_away(tmp_path: Path) -> None:
    desk = laid(tmp_path / "desk.sqlite", 12, rate=0.5)
    (ann,) = (r.id for r in desk.register.invite(["ann"]))
    for _ in range(9):
        says(desk, ann, "ann", 1.0)
    before = overseen(desk, _watch(desk))["raters"]
    assert before[0]["gold"]["right"] == 0, "their answers are turned round: A is wrong there"
    assert before[0]["gold"]["n"] == 4
    held = desk.next(ann)
    close_all()
    again = desk_at(tmp_path / "desk.sqlite")
    assert overseen(again, _watch(again))["raters"] == before
    assert again.next(ann).id == held.id
    again.tray.put_away([])
    assert again.next(ann) is None
    again.tray.put(KEY, "0", [sheet(case_of(i, str(i // 100 + i % 100 + 3), "0")) for i in range(12)])
    assert again.gold.lies(KEY, "0")
    assert again.next(ann).id == held.id
    close_all()


def _watch(desk: Desk) -> Any:
    from rrm.raters.watch import Watch

    return Watch(desk)


# -- right and wrong --------------------------------------------------------------------------------------------------


def said(**content: Any) -> Feedback:
    return FEEDBACK.validate_python({"case": "", "evaluator": "x", **content})


@pytest.mark.parametrize(
    ("worth", "content", "right"),
    [
        ((1, 0), {"kind": "preference", "first_better": 0.75}, True),
        ((0, 1), {"kind": "preference", "first_better": 0.75}, False),
        ((1, 0), {"kind": "preference", "first_better": 0.5}, False),
        ((1, 0, 0), {"kind": "ranking", "tiers": [[0], [1, 2]]}, True),
        ((1, 0, 1), {"kind": "ranking", "tiers": [[0, 2], [1]]}, True),
        ((1, 0, 0), {"kind": "ranking", "tiers": [[0, 1, 2]]}, False),
        ((1,), {"kind": "rating", "score": 0.8}, True),
        ((0,), {"kind": "rating", "score": 0.8}, False),
        ((0,), {"kind": "approval", "approved": False}, True),
        ((1, 0), {"kind": "rating", "score": 0.8}, None),
        ((1, 0), {"kind": "abstention", "reason": "cannot tell"}, None),
        ((1, 0), {"kind": "demonstration", "text": "3"}, None),
    ],
)
def test_what_is_right(worth: tuple[float, ...], content: dict[str, Any], right: bool | None) -> None:
    assert Gold(case=case_of(0, *"abc"[: len(worth)]), worth=worth).right(said(**content)) is right


def test_of_the_truth_only_what_is_plain_becomes_gold() -> None:
    cases = [case_of(0, "3", "4"), case_of(1, "9", "8"), case_of(2, "5", "5"), case_of(3, "6"), case_of(4, "1")]
    found = {g.twin: g for g in _gold.of_truth(TASK, cases, rate=0.1, seed=Seed(0))}
    assert found.keys() == {cases[0].id, cases[3].id, cases[4].id}, "nothing where none, or all, are right"
    turned = found[cases[0].id]
    assert [r.text for r in turned.case.responses] == ["4", "3"]
    assert (turned.best, turned.words) == ({1}, "B is best")
    assert found[cases[3].id].worth == (1,)
    assert found[cases[4].id].worth == (0,)
    assert len({g.case.id for g in found.values()} | {c.id for c in cases}) == 8


# -- told, or not -----------------------------------------------------------------------------------------------------


def test_a_mistake_is_told_and_cannot_be_taken_back(tmp_path: Path) -> None:
    desk = laid(tmp_path / "desk.sqlite", 12, rate=0.5, tell=True)
    served = Served(desk, names=("ann",))
    try:
        ann, page = served.script("ann"), served.browser("ann")
        told, wrong = 0, 0
        while (answer := ann.get("/api/case")).status_code == 200:
            given = answer.json()
            gold = desk.gold.case(given["case"])
            assert given["sheet"]["place"] == "", "it would tell"
            shown = page.get("/").text
            assert "gold" not in shown.replace("The last one was a gold question", ""), "nobody sees which is one"
            kept = ann.post("/api/feedback", json={"case": given["case"], "kind": "preference", "first_better": 1})
            assert kept.status_code == 201
            if gold is None:
                assert kept.json()["told"] == ""
                assert "gold" not in page.get("/").text
                continue
            wrong += 1
            expected = "The last one was a gold question, whose answer is known: B is best."
            assert kept.json()["told"] == expected
            told += expected in page.get("/").text
            undone = ann.post("/api/undo")
            assert (undone.status_code, undone.json()["detail"]) == (
                409, "you were told the answer to your last case: it can no longer be undone",
            )  # fmt: skip
        assert told == wrong > 3
    finally:
        served.close()
        close_all()


def test_nothing_is_told_unless_the_study_wants_it(tmp_path: Path) -> None:
    desk = laid(tmp_path / "desk.sqlite", 12, rate=0.5)
    (ann,) = (r.id for r in desk.register.invite(["ann"]))
    while id := says(desk, ann, "ann", 1.0):
        assert desk.gold.told(ann) == ""
        if desk.gold.case(id):
            assert desk.undo(ann) == id, "it is taken back as any other"
            says(desk, ann, "ann", 1.0)
    close_all()


# -- the owner --------------------------------------------------------------------------------------------------------


def test_the_owner_sees_how_each_rater_works(tmp_path: Path) -> None:
    desk = laid(tmp_path / "desk.sqlite", 60, rate=0.3, wanted=2, turned=True)
    served = Served(desk, names=("ann", "bob"))
    try:
        for name, always in (("ann", None), ("bob", 1.0)):
            while says(desk, served.raters[name], name, always):
                pass
        ann, bob = served.script("owner").get("/api/progress").json()["raters"]
        assert ann["gold"]["right"] == ann["gold"]["n"] > 15
        assert ann["flags"] == []
        assert bob["gold"]["right"] < bob["gold"]["n"] * 0.7, "she says A whatever it is"
        assert bob["gold"]["low"] < bob["gold"]["mean"] < bob["gold"]["high"] < 0.9
        flags = {f["flag"]: f for f in bob["flags"]}
        assert flags.keys() == {"missed gold", "straight-lining", "not alike"}
        assert flags["missed gold"]["p"] < 1e-3
        assert ann["agreement"]["n"] == 60
        assert ann["agreement"]["high"] < 0.3
        page = served.browser("owner").get("/owner").text
        share = (
            rf"{bob['gold']['right']}/{bob['gold']['n']} {bob['gold']['mean']:.2f} <small>\[0.\d\d, 0.\d\d\]</small>"
        )
        assert re.search(f"<td>{share}</td>", page)
        assert "straight-lining" in page
    finally:
        served.close()
        close_all()


def test_agreement_is_shown_by_node_and_by_rater(where: Path | str) -> None:
    desk = desk_at(where)
    desk.tray.put(KEY, "0", [sheet(case_of(i, "1", "0")) for i in range(60)], wanted=3)
    for name, of in (("ann", 2), ("bob", 2), ("eve", 3)):
        (rater,) = desk.register.invite([name])
        for i in range(60):
            says(desk, rater.id, name, float(i % of == 0))
    found = overseen(desk, _watch(desk))
    by_name = {r["name"]: r["agreement"] for r in found["raters"]}
    assert by_name["ann"]["mean"] > by_name["eve"]["mean"] + 0.3
    assert by_name["eve"]["low"] < 0.1
    (node,) = found["nodes"]
    assert node["agreement"]["n"] == 60
    assert node["agreement"]["low"] < node["agreement"]["mean"] < node["agreement"]["high"]
    assert node["weights"] == {}
    for stream, weights in (("0", {"ann": 1.0}), ("1", {"ann": 2.0, "eve": 0.0})):
        desk.ledger.weigh(KEY, stream, weights)
    assert overseen(desk, _watch(desk))["nodes"][0]["weights"] == {"ann": 2.0, "eve": 0.0}, "the newest"
    assert desk.ledger.of_node(KEY) == [], "the run has taken none yet"
    desk.tray.collect(KEY, "0")
    assert len(desk.ledger.of_node(KEY)) == 180


# -- in a run ---------------------------------------------------------------------------------------------------------


def test_a_run_learns_nothing_from_gold(tmp_path: Path) -> None:
    """The same run with and without: what is recorded is the same, but for the setting."""
    records = []
    for settings in ('{ use = "people" }', '{ use = "people", gold = 0.5, gold_told = true }'):
        plan, out = tmp_path / "people.toml", tmp_path / f"out-{len(records)}"
        plan.write_text(UNGATED.replace('"people"', settings).replace("cases = 4", "cases = 8"))
        golds = 0
        for level in range(2):
            with pytest.raises(Unfinished):
                build.run(Study.load(plan), Store(out), workers=1)
            desk = desk_at(place_of(out))
            (ann,) = desk.register.invite(["ann"])
            while handed := desk.next(ann.id):
                golds += desk.gold.case(handed.id) is not None
                texts = [a.text for a in handed.sheet.answers]
                body = {"kind": "preference", "case": handed.sheet.case, "evaluator": "ann", "seconds": 1.0}
                if len(texts) == 1:
                    body |= {"kind": "rating", "score": 0.5}
                else:
                    body |= {"first_better": float(texts[0] < texts[1])}
                desk.say(ann.id, handed.id, FEEDBACK.validate_python(body))
            close_all()
            assert level < 2
        build.run(Study.load(plan), Store(out), workers=1)
        store = Store(out, create=False)
        found = {
            (f.case, f.body)
            for k, s in store.places()
            if s.endswith("/feedback")
            for f in store.read(k, s, FEEDBACK).values()
        }
        records.append((golds, found))
    assert records[0][0] == 0
    assert records[1][0] > 2
    assert records[0][1] == records[1][1]
    assert len(records[0][1]) == 16


def test_gold_of_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    rows = [{"prompt": f"Add up: {i} 1 1 1", "answers": [str(i + 3), "0"], "best": [0]} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = _gold.read(path, TASK)
    assert [(g.best, g.twin) for g in found] == [({0}, "")] * 3
    people = People(People.Settings(gold=0.1, gold_file=str(path)))
    people.check(TASK)
    assert people.reads() == [path]
    assert People(People.Settings(gold_file=str(path))).reads() == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", r"gold.jsonl, line 1: .*Write it as"),
        ('{"prompt": "Add up: 1 1 1 1", "answers": ["4"]}', "line 1: best: Field required"),
        ('{"prompt": "Add up: 1 1 1 1", "answers": ["4", "5"], "best": [2]}', "answers 0 to 1, and not all of several"),
        ('{"prompt": "Add up: 1 1 1 1", "answers": ["4", "5"], "best": []}', "answers 0 to 1, and not all of several"),
        ('{"prompt": "Spell: x", "answers": ["4", "5"], "best": [0]}', "is no item of the task 'column-sum'"),
        ("", "holds no question"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_the_plan_loads(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(line)
    with pytest.raises(PlanError, match=why):
        People(People.Settings(gold=0.1, gold_file=str(path))).check(TASK)


def test_gold_that_could_never_be_right_or_wrong_is_refused() -> None:
    with pytest.raises(PlanError, match="of these kinds none is right or wrong: add preference"):
        People(People.Settings(gold=0.1, kinds=("advice", "demonstration"))).check(TASK)
    with pytest.raises(PlanError, match="cannot be read"):
        People(People.Settings(gold=0.1, gold_file="nowhere.jsonl")).check(TASK)


def test_late_and_twice_are_refused_of_gold_too(tmp_path: Path) -> None:
    desk = laid(tmp_path / "desk.sqlite", 12, rate=0.5)
    (ann, bob) = (r.id for r in desk.register.invite(["ann", "bob"]))
    while not (id := says(desk, ann, "ann")) or not desk.gold.case(id):
        pass
    with pytest.raises(TooLate, match="judged this case already"):
        desk.say(ann, id, said(kind="preference", first_better=1))
    with pytest.raises(TooLate, match="not handed to you"):
        desk.say(bob, id, said(kind="preference", first_better=1))
    close_all()
