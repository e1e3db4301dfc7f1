"""The page of `rrm judge` in a real Chromium: a run judged by keys alone, and hostile text that stays text.

Skipped only where there is no Chromium: RRM_CHROMIUM names one, else it is looked for on PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDY
from desks import close_all, desk_at, sheets
from hostile import TEXTS, storable
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from test_drill import Deep, beside, deep  # noqa: F401 - pytest finds the fixtures here
from test_judge import KEY, PEOPLE, Served

from rrm import Case, Exhibit, Item, Query, Report, Response, Store, Study, build
from rrm.blocks import Code, Frames, Table, Text
from rrm.conduct import conduct
from rrm.desk import Desk, place_of
from rrm.desk.sheet import Asked, Sheet, sheet_of, shown_exhibit
from rrm.errors import Unfinished
from rrm.records import FEEDBACK, Abstention, Feedback
from rrm.registry import REWARD_TERMS, TASKS
from rrm.roles import GivenTerm, Known
from rrm.trial.record import NODE, STREAM, TrialRecord
from rrm.web.going_on import GoingOn

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("RRM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no Chromium: RRM_CHROMIUM names none, and on PATH is none of {', '.join(NAMES)}"
)
SIZE: Any = {"width": 1000, "height": 800}
CASE = "(document.querySelector('form.verdict input[name=case]')?.value || '')"
"""Which case is shown, for the page."""
PATIENCE = 60_000
"""Milliseconds: the machine may be busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Watched:
    """A window in which whatever should not happen is written down."""

    def __init__(self, browser: Browser, served: Served) -> None:
        self.context: BrowserContext = browser.new_context(viewport=SIZE)
        self.context.set_default_timeout(PATIENCE)
        self.served = served
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.context.on("request", lambda request: self._asked(request.url))
        self.context.on("console", lambda said: self.wrong.append(f"console: {said.text}"))
        self.context.on("weberror", lambda error: self.wrong.append(f"error: {error.error}"))
        self.page = self._window()

    def _window(self) -> Page:
        page = self.context.new_page()
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: self.wrong.append(f"window: {popup.url}"))
        page.on("download", lambda download: self.wrong.append(f"download: {download.url}"))
        return page

    def _asked(self, url: str) -> None:
        self.asked.append(url)
        if not url.startswith((f"{self.served.base}/", "data:")):
            self.wrong.append(f"request: {url}")

    def enter(self, name: str) -> None:
        self.page.goto(f"{self.served.base}/#{self.served.token(name)}")
        self.until(f"{CASE} != ''")  # the address is bare before the page that enters is left

    def walk_away(self) -> None:
        """Close the page, and open another in the same browser."""
        self.page.close()
        self.page = self._window()
        self.page.goto(f"{self.served.base}/")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def case(self) -> str:
        """Which case is shown; empty: none."""
        return str(self.look(CASE))

    def look(self, expression: str) -> Any:
        """What it is in a page that is loaded, even where one was just being left for another."""
        until = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < until:
            with suppress(Error):
                loaded, found = self.page.evaluate(f"[document.readyState == 'complete', {expression}]")
                if loaded:
                    return found
            time.sleep(0.01)
        raise AssertionError(f"no page came: {self.wrong}")

    def until(self, condition: str) -> None:
        """Wait until it holds. (The page's own policy lets no tool leave text in it that is evaluated there.)"""
        until = time.monotonic() + PATIENCE / 1000
        while not self.look(condition):
            assert time.monotonic() < until, f"it never came to: {condition}; {self.wrong}"
            time.sleep(0.01)

    def until_other_than(self, case: str) -> None:
        self.until(f"{CASE} != '{case}'")


# -- a whole run, by keys ---------------------------------------------------------------------------------------------


class Person:
    """Judges by keys, and remembers what was pressed."""

    def __init__(self, window: Watched) -> None:
        self.window, self.judged, self.opened = window, 0, 0
        self.firsts: list[float] = []
        """Of each comparison of two, whether the first was said to be better."""
        self.kinds: set[str] = set()

    def open_one(self) -> None:
        page = self.window.page
        if page.locator("details.exhibit").count():
            self.window.press("e", "1")
            page.wait_for_selector(".exhibit-body")
            assert page.locator(".exhibit-body").count() == 1, "the others stay shut"
            self.opened += 1

    def judge(self) -> str:
        """Judge the case that is shown, and wait for what comes next."""
        page, case = self.window.page, self.window.case()
        kind = str(page.locator("form.verdict").first.get_attribute("data-kind"))
        self.kinds.add(kind)
        if kind == "preference":
            texts = page.locator("section.answer .text").all_inner_texts()
            first = texts[0] < texts[1]
            self.firsts.append(float(first))
            self.window.press("1" if first else "2")
        else:
            self.window.press("2", "=", "1", "Enter")
        self.window.until_other_than(case)
        self.judged += 1
        return case


def test_a_person_trains_a_two_level_run_by_keys_alone(tmp_path: Path, browser: Browser) -> None:
    plan, out = tmp_path / "people.toml", tmp_path / "out"
    plan.write_text(PEOPLE)
    with pytest.raises(Unfinished):
        build.run(Study.load(plan), Store(out), workers=1)
    command = [sys.executable, "-m", "rrm", "run", str(out), "--quiet"]
    desk = desk_at(place_of(out))
    served = Served(desk, GoingOn(desk, command, grace=2, every=0.05), names=("ann",))
    served.going.start()
    window = Watched(browser, served)
    person = Person(window)
    try:
        window.enter("ann")
        assert window.page.url == f"{served.base}/", "the token has left the address"
        case = person.judge()
        window.press("u")
        window.until(f"{CASE} == '{case}'")
        person.firsts.pop()
        person.judged -= 1
        person.judge()
        held = window.case()
        window.walk_away()
        assert window.case() == held, "whoever comes back finds the case that they left"
        until = time.monotonic() + 240
        while not window.look("document.body.innerText.includes('All is judged')") and time.monotonic() < until:
            if window.case():
                person.open_one()
                person.judge()
            else:
                time.sleep(0.05)
        assert served.going.state == "finished"
        assert window.wrong == []
    finally:
        window.context.close()
        served.going.stop()
        served.close()
        close_all()
    check_record(out, person)


def check_record(out: Path, person: Person) -> None:
    """What is recorded is what was pressed."""
    store = Store(out, create=False)
    found = [
        f for k, s in store.places() if s.endswith("/feedback") for f in store.read(k, s, FEEDBACK).values()
    ]  # fmt: skip
    assert {f.evaluator for f in found} == {"ann"}
    assert len(found) == person.judged == 14
    assert sorted(f.first_better for f in found if f.kind == "preference") == sorted(person.firsts)
    assert {f.kind for f in found} == person.kinds
    assert all(set(f.tiers[0]) == {0, 1} for f in found if f.kind == "ranking"), "2 = 1, and they lead"
    assert sum(len(f.seen) for f in found) == person.opened == 7
    assert all(f.seconds and f.seconds > 0 for f in found)
    nodes = Report.from_store(store).to_json()["arms"][0]["nodes"]
    assert {name: node["judgements"] for name, node in nodes.items()} == {"block": 4, "total": 4}
    assert {name: node["truth"]["n"] for name, node in nodes.items()} == {"block": 40, "total": 40}
    assert (out / "report.html").is_file()


# -- drill-down -------------------------------------------------------------------------------------------------------


def test_a_person_drills_down_by_keys(browser: Browser, beside: Deep) -> None:  # noqa: F811
    window = Watched(browser, beside)
    try:
        window.enter("ann")
        case = window.case()
        window.press("e", "1")
        window.until("document.querySelectorAll('form.asking').length == 1")
        window.press("a", "1")
        window.until("document.querySelectorAll('.below').length == 1")
        assert window.look("document.querySelectorAll('form.asking').length") == 2
        window.press("a", "2")
        window.until("document.querySelectorAll('.below .below').length == 1")
        told = "[...document.querySelectorAll('.below summary b')].map(e => e.textContent.trim()).join(' ')"
        assert window.look(told) == "four four two two"
        assert window.look("document.querySelectorAll('form.asking').length") == 1, "who has no helpers is not asked"
        window.walk_away()
        assert window.case() == case
        assert window.look(told) == "four four two two", "what was asked is there again"
        window.press("1")
        window.until_other_than(case)
        owner = Watched(browser, beside)
        owner.page.goto(f"{beside.base}/#{beside.token('owner')}")
        owner.until("[...document.querySelectorAll('img.graph')].some(e => e.naturalWidth > 100)")
        assert window.wrong == owner.wrong == []
        owner.context.close()
    finally:
        window.context.close()


# -- what mattered ----------------------------------------------------------------------------------------------------


def test_what_mattered_is_marked_by_keys(tmp_path: Path, browser: Browser) -> None:
    desk = desk_at(tmp_path / "desk.sqlite")
    item = Item(task="column-sum", prompt="Add up: 1 2 3 4")
    answer = Response(item=item.id, text="it <b>is</b> \u202eten")
    case = Case(item=item, responses=(answer,), place="0/0")
    task = TASKS.build("column-sum", {"length": 4})
    term = GivenTerm(REWARD_TERMS.build("pattern", {"pattern": "[0-9]+"}), 0.5)
    shown = sheet_of(task, case, node="n", level=0, helpers={}, kinds=["mask", "term"], terms=[term])
    again = case.model_copy(update={"place": "0/1"})
    more = sheet_of(task, again, node="n", level=0, helpers={}, kinds=["mask", "term"], terms=[term])
    desk.tray.put(KEY, "0", [shown, more])
    served = Served(desk, names=("ann",))
    window = Watched(browser, served)
    try:
        window.enter("ann")
        one = window.case()
        words = "[...document.querySelectorAll('.parts span')].map(e => e.textContent).join('|')"
        assert window.look(words) == "it|<b>is</b>|‹U+202E›ten"
        window.press("3", "2", "2", "g")
        window.until_other_than(one)
        two = window.case()
        window.press("k")
        window.until("document.activeElement.name == 'weight'")
        window.press("Control+a", "2", ".", "5", "Control+Enter")
        window.until_other_than(two)
        assert window.wrong == []
        mask, term_ = (said[0] for said in desk.tray.collect(KEY, "0").values())
        assert (mask.marks, mask.good) == ((False, False, True), 1.0)
        assert (term_.use, term_.weight, term_.settings) == ("pattern", 2.5, {})
    finally:
        window.context.close()
        served.close()
        close_all()


# -- the clock --------------------------------------------------------------------------------------------------------


def test_time_that_nobody_is_there_judges_nothing(tmp_path: Path, browser: Browser) -> None:
    """Of a page that is left alone one case runs out, which can be undone; a page that is shut costs no time."""
    desk, limit = desk_at(tmp_path / "desk.sqlite"), 6.0
    desk.tray.put(KEY, "0", [sheet.model_copy(update={"limit": limit}) for sheet in sheets(3)])
    served = Served(desk, names=("ann",))
    window = Watched(browser, served)
    try:
        window.enter("ann")
        one = window.case()
        window.until("document.title == 'Ready? · rrm judge'")
        time.sleep(limit + 1)
        assert served.desk.register.progress()[1][0].verdicts == 1
        window.press("u")
        window.until(f"{CASE} == '{one}'")
        window.press("1")
        window.until_other_than(one)
        two = window.case()
        window.page.close()
        time.sleep(limit + 1)
        window.walk_away()
        window.until(f"{CASE} == '{two}'")
        window.press("2")
        window.until_other_than(two)
        window.press("1")
        window.until("document.title == 'Waiting · rrm judge'")
        said = [f for told in desk.tray.collect(KEY, "0").values() for f in told]
        assert [(f.kind, f.first_better) for f in said] == [("preference", 1), ("preference", 0), ("preference", 1)]
        assert all(f.seconds < limit for f in said)
        assert window.wrong == []
    finally:
        window.context.close()
        served.close()
        close_all()


# -- an approval -------------------------------------------------------------------------------------------------------


def test_an_approval_is_a_button_and_nothing_else(tmp_path: Path, browser: Browser) -> None:
    desk = desk_at(tmp_path / "desk.sqlite")
    desk.tray.put(KEY, "0", [sheet.model_copy(update={"kinds": ("approval",)}) for sheet in sheets(1)])
    served = Served(desk, names=("ann",))
    window = Watched(browser, served)
    try:
        window.enter("ann")
        window.page.focus("select[name=response]")
        window.press("Control+Enter", "Escape", "y")
        window.until("document.title == 'Waiting · rrm judge'")
        assert [f.approved for told in desk.tray.collect(KEY, "0").values() for f in told] == [True]
        assert window.wrong == []
    finally:
        window.context.close()
        served.close()
        close_all()


# -- a trial ----------------------------------------------------------------------------------------------------------

TRIAL = """
[trial]
arms = ["unassisted", "assisted", "misleading"]
raters = 2
cases = 6
people = ["people"]
"""
TELLING = re.compile(r"assist|mislead|trial|\barms?\b", re.IGNORECASE)
"""What would tell somebody who judges in which arm a case stands."""


def test_two_people_do_a_blind_trial_by_keys(study: Path, tmp_path: Path, browser: Browser) -> None:
    study.write_text(STUDY + TRIAL)
    out = tmp_path / "out"
    plan, store = Study.load(study), Store(out)
    build.run(plan, store, workers=1)
    with pytest.raises(Unfinished, match="12 of 12 judgements are still to be made, by 2 raters"):
        conduct(plan, store)
    (record,) = store.read(NODE, STREAM, TrialRecord).values()
    asked = store.read(record.key, "trial/cases", Case)
    arm_of = {asked[n].id: record.cells[cell].name for n, (_, _, cell) in enumerate(record.design)}
    desk = desk_at(place_of(out))
    served = Served(desk, GoingOn(desk, [sys.executable, "-m", "rrm", "run", str(out), "--quiet"], grace=0, every=0.05))
    made: dict[str, set[str]] = {}
    opened = 0
    windows = {name: Watched(browser, served) for name in ("ann", "bob")}
    try:
        for name, window in windows.items():
            window.enter(name)
            for _ in range(6):
                case = window.case()
                arm = arm_of[case.rpartition("-")[2]]
                assert not TELLING.search(window.page.content()), "the page tells nobody which arm it is"
                made.setdefault(arm, set()).add(json.dumps(window.look(f"({MADE_OF})()")))
                assert (window.page.locator("details.exhibit").count() > 0) is (arm != "unassisted")
                person = Person(window)
                person.open_one()
                opened += person.opened
                person.judge()
            assert window.case() == "", "the other's cases are not theirs"
        served.going.start()
        windows["ann"].until("document.body.innerText.includes('All is judged')")
        assert [w.wrong for w in windows.values()] == [[], []]
    finally:
        for window in windows.values():
            window.context.close()
        served.going.stop()
        served.close()
        close_all()
    assert made["assisted"] == made["misleading"], "help and misleading help look the same"
    (found,) = Report.from_store(Store(out, create=False)).to_json()["trial"]
    assert (found["node"], found["planned"], found["judged"]) == ("total", 12, 12)
    cells = {cell["name"]: cell for cell in found["cells"]}
    assert list(cells) == ["unassisted", "assisted", "misleading"]
    for rater in (0, 1):
        assert Counter(record.cells[c].name for r, _, c in record.design if r == rater) == dict.fromkeys(cells, 2)
    assert opened == 8
    assert cells["assisted"]["opened"]["mean"] > 0
    assert cells["misleading"]["uplift"] is not None
    said: dict[int, Feedback] = Store(out, create=False).read(record.key, "trial/feedback", FEEDBACK)
    assert [f.evaluator for _, f in sorted(said.items())] == ["ann"] * 6 + ["bob"] * 6
    assert "What help is worth to a person" in (out / "report.html").read_text()


# -- hostile text -----------------------------------------------------------------------------------------------------

EACH = 16
"""So many texts stand in one case."""

MADE_OF = """() => [...document.querySelectorAll('*')].map(e =>
  [e.tagName, e.className, e.id, ...e.getAttributeNames().sort()].join(' '))"""
"""Every element of the page: its tag, its class and the names of its attributes."""

CONTROLS = """() => {
  const own = [...document.querySelectorAll('header, header *, main, h1, h2, h2 *, .verdicts, .verdicts *')];
  const start = document.querySelector('.verdicts').getBoundingClientRect().y;
  const looks = ['display', 'visibility', 'opacity', 'color', 'background-color', 'font', 'position', 'z-index',
    'transform', 'direction', 'pointer-events', 'cursor', 'filter', 'clip-path', 'content'];
  const fromTop = e => e.closest('header') ? 0 : e.closest('.verdicts') ? start : null;
  const heading = e => e.tagName == 'H2' && !e.closest('.verdicts');
  return own.map(e => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e), from = fromTop(e);
    return [e.tagName, e.children.length || e.id == 'clock' ? '' : e.textContent, Math.round(box.x),
      e.id == 'clock' ? 0 : Math.round(box.width), e.tagName == 'MAIN' ? 0 : Math.round(box.height),
      from === null || !box.height ? 0 : Math.round(box.y - from),
      ...looks.map(l => style.getPropertyValue(l))].join('|');
  });
}"""
"""The page's own controls: what they say, where they stand, and how they look."""

REACHED = """() => [...document.querySelectorAll('.verdicts button, .verdicts input:not([type=hidden])')].filter(e => {
  if (!e.checkVisibility()) return false;
  e.scrollIntoView({block: 'center'});
  const box = e.getBoundingClientRect();
  const there = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return !there || !(e.contains(there) || there.contains(e) && there.tagName == 'LABEL');
}).map(e => e.outerHTML)"""
"""Controls that something else lies upon."""

SPILT = """() => [document.documentElement.scrollWidth > innerWidth, document.title,
  Object.keys(window).filter(k => !window.__before.includes(k) && k != '__before').join()]"""
"""Whether something reaches beyond the page, what it calls itself, and what was set that was not there before."""


def laid(number: int, texts: list[str]) -> tuple[Sheet, Asked]:
    """A case of which every answer and every exhibit is one of these texts, shown in every kind of block, and what the
    first helper's own helpers said: all the others."""
    plain = TASKS.get("column-sum")

    class Hostile(plain):  # type: ignore[misc, valid-type]
        def show(self, item: Item, text: str | None = None) -> Any:
            shown = item.prompt if text is None else text
            return (
                Text(text=shown),
                Code(text=shown, language=shown),
                Table(columns=(shown,), rows=((shown,),)),
                Frames(frames=(Text(text=shown),), captions=(shown,)),
            )

    item = Item(task="column-sum", prompt=texts[0])
    answers = tuple(Response(item=item.id, text=text) for text in texts)
    exhibits = tuple(
        Exhibit(text=text, agent=text, title=text, query=Query(subtask="block", item=Item(task="x", prompt=text)))
        for text in texts
    )
    case = Case(item=item, responses=answers, exhibits=exhibits, place=f"0/{number}")
    helpers = {"block": Known("block", 1, Hostile(), 5, 4)}
    folded = number % 2 == 0
    below = tuple(shown_exhibit(e, case, helpers).model_copy(update={"about": None}) for e in exhibits)
    asked = Asked(exhibit=exhibits[0].id, key=KEY, said=exhibits, shown=below[1:])
    sheet = sheet_of(Hostile(), case, node="sum", level=1, helpers=helpers, kinds=["ranking"], folded=folded)
    return sheet, asked


def test_hostile_text_stays_text(tmp_path: Path, browser: Browser) -> None:
    assert len(TEXTS) >= 200
    texts = [storable(text) or " " for text in TEXTS]
    groups = [texts[i : i + EACH] for i in range(0, len(texts), EACH)]
    groups[-1] += texts[: EACH - len(groups[-1])]
    plain = [[f"harmless {n} {i}" for i in range(EACH)] for n in range(2)]
    desk = desk_at(tmp_path / "desk.sqlite")
    cases = [laid(i, group) for i, group in enumerate([*plain, *groups])]
    desk.tray.put(KEY, "0", [sheet for sheet, _ in cases])
    served = Served(desk)
    window = Watched(browser, served)
    window.context.add_init_script("window.__before = Object.keys(window);")
    ann = served.raters["ann"]
    ask_below(desk, ann, cases[0][1])
    try:
        window.enter("ann")
        expected: dict[bool, Any] = {}
        for number in range(len(plain) + len(groups)):
            made, controls, spilt = looked_at(window, folded=number % 2 == 0)
            was = expected.setdefault(number % 2 == 0, (made, controls, spilt))
            where = f"case {number}: {groups[number - 2][:1]!r:.80}…"
            assert made == was[0], f"{where} changed what the page is made of"
            assert controls == was[1], f"{where} changed the page's controls"
            assert spilt == was[2], f"{where} reaches beyond its box"
            assert window.wrong == [], where
            case = window.case()
            desk.say(ann, case, Abstention(case=cases[number][0].case, evaluator="ann", reason="looked at"))
            if number + 1 < len(cases):
                ask_below(desk, ann, cases[number + 1][1])
            window.page.goto(served.base)
        assert not window.case(), "all were looked at"
        assert desk.register.of_rater(ann)[0] == len(plain) + len(groups)
        assert window.wrong == []
    finally:
        window.context.close()
        served.close()
        close_all()


def ask_below(desk: Desk, rater: int, asked: Asked) -> None:
    """Hand out the next case, as if its first exhibit had been asked about already."""
    handed = desk.next(rater)
    assert handed is not None
    desk.note(rater, handed.id, "asked", asked.body)


def looked_at(window: Watched, *, folded: bool) -> tuple[Any, Any, Any]:
    """What the case that is shown is made of, with every exhibit open."""
    page = window.page
    page.wait_for_load_state()
    if folded:
        window.press("e", "e")
    window.until(f"document.querySelectorAll('.exhibit-body').length == {2 * EACH - 1}")
    made, spilt = page.evaluate(MADE_OF), page.evaluate(SPILT)
    # how far it is changes from case to case; it is the page's own, and no text of an agent is in it
    own = ("SPAN|level", "PROGRESS")
    controls = [c for c in page.evaluate(CONTROLS) if "judged," not in c and not c.startswith(own)]
    assert page.evaluate(REACHED) == []
    return made, controls, spilt
