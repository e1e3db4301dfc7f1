"""The desk, on SQLite and on PostgreSQL: each verdict is kept once, each case goes to as many raters as it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from desks import close_all, desk_at, sheets

from rrm import Preference, StoreError
from rrm.desk import Desk, Handed
from rrm.desk.raters import opened, signed
from rrm.desk.tray import case_id
from rrm.errors import Refused, TooLate

KEY = "0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def first(handed: Handed, who: str) -> Preference:
    return Preference(case=handed.sheet.case, evaluator=who, first_better=1.0, seconds=2.0)


def laid(where: Path | str, count: int = 3, wanted: int = 1, names: tuple[str, ...] = ("ann", "bob")) -> tuple:
    clock = Clock()
    desk = desk_at(where, lease=60, clock=clock)
    desk.tray.put(KEY, "0", sheets(count), wanted=wanted)
    return desk, clock, *(r.id for r in desk.register.invite(names))


def judge(desk: Desk, rater: int) -> Handed | None:
    handed = desk.next(rater)
    if handed is not None:
        desk.say(rater, handed.id, first(handed, str(rater)))
    return handed


def test_cases_come_in_order_each_to_one_and_are_taken_once(where: Path | str) -> None:
    desk, _, ann, bob = laid(where)
    cases = [sheet.case for sheet in sheets(3)]
    one, two = desk.next(ann), desk.next(bob)
    assert [h.sheet.case for h in (one, two)] == cases[:2]
    assert desk.next(ann).id == one.id, "until it is judged, the same case comes again"
    assert desk.tray.collect(KEY, "0") == {}
    for rater, handed in ((ann, one), (bob, two)):
        desk.say(rater, handed.id, first(handed, "x"))
    assert not desk.tray.is_due(), "one of three still waits"
    assert judge(desk, ann).sheet.case == cases[2]
    assert desk.next(ann) is None
    assert desk.tray.is_due()
    assert not desk.tray.is_empty()
    taken = desk.tray.collect(KEY, "0")
    assert {case: [f.case for f in said] for case, said in taken.items()} == {case: [case] for case in cases}
    assert desk.tray.is_empty()
    assert desk.tray.collect(KEY, "0") == taken, "a run that was killed after it took them is told the same"


def test_putting_again_changes_nothing(where: Path | str) -> None:
    desk, _, ann, _ = laid(where)
    judge(desk, ann)
    desk.tray.put(KEY, "0", sheets(3))
    nodes, raters = desk.register.progress()
    assert [(n.cases, n.judged, n.taken) for n in nodes] == [(3, 1, 0)]
    assert [(r.name, r.verdicts) for r in raters] == [("ann", 1), ("bob", 0)]


def test_a_case_for_three_goes_to_three_and_never_twice_to_one(where: Path | str) -> None:
    desk, _, *people = laid(where, count=4, wanted=3, names=("a", "b", "c", "d", "e"))
    given = Counter()
    while any(handed := [(p, judge(desk, p)) for p in people]) and any(h for _, h in handed):
        given.update((h.id, p) for p, h in handed if h)
    assert set(given.values()) == {1}
    assert Counter(id for id, _ in given) == {case_id(KEY, s.case): 3 for s in sheets(4)}
    assert {len(said) for said in desk.tray.collect(KEY, "0").values()} == {3}


def test_who_walks_away_loses_the_case_to_another(where: Path | str) -> None:
    desk, clock, ann, bob = laid(where, count=1)
    handed = desk.next(ann)
    assert desk.next(bob) is None, "ann holds the only one"
    clock.now += 59
    assert desk.next(bob) is None
    clock.now += 2
    assert desk.next(bob).id == handed.id
    with pytest.raises(TooLate, match="went to somebody else"):
        desk.say(ann, handed.id, first(handed, "ann"))
    desk.say(bob, handed.id, first(handed, "bob"))
    assert [f.evaluator for f in desk.tray.collect(KEY, "0")[handed.sheet.case]] == ["bob"]


def test_who_comes_back_late_may_still_say_it_if_nobody_took_the_case(where: Path | str) -> None:
    desk, clock, ann, bob = laid(where, count=2)
    handed = desk.next(ann)
    clock.now += 61
    assert judge(desk, bob).id == handed.id
    clock.now += 61
    late = desk.next(ann)
    clock.now += 61
    desk.next(bob)  # reclaims, and bob is handed what ann let go
    with pytest.raises(TooLate, match="went to somebody else"):
        desk.say(ann, late.id, first(late, "ann"))
    clock.now += 61
    desk.register.pause(bob, True)
    assert desk.next(bob) is None
    again = desk.next(ann)
    assert again.id == late.id
    desk.say(ann, again.id, first(again, "ann"))
    assert desk.tray.is_due()


def test_nothing_is_said_twice_or_of_what_was_not_handed(where: Path | str) -> None:
    desk, _, ann, bob = laid(where, wanted=2)
    handed = desk.next(ann)
    with pytest.raises(TooLate, match="was not handed to you"):
        desk.say(bob, handed.id, first(handed, "bob"))
    desk.say(ann, handed.id, first(handed, "ann"))
    with pytest.raises(TooLate, match="judged this case already"):
        desk.say(ann, handed.id, first(handed, "ann"))
    with pytest.raises(TooLate, match="judged this case already"):
        desk.holds(ann, handed.id)
    with pytest.raises(TooLate, match="was not handed to you"):
        desk.say(ann, "nothing", first(handed, "ann"))
    with pytest.raises(Refused, match="no such rater"):
        desk.next(77)


def test_undo_gives_the_case_back_with_the_time_it_took(where: Path | str) -> None:
    desk, clock, ann, bob = laid(where)
    with pytest.raises(TooLate, match="nothing to undo"):
        desk.undo(ann)
    handed = desk.next(ann)
    desk.note(ann, handed.id, "opened", "an exhibit")
    desk.say(ann, handed.id, first(handed, "ann"))
    later = desk.next(ann)
    clock.now += 10
    assert desk.undo(ann) == handed.id
    back = desk.next(ann)
    assert back.id == handed.id
    assert clock.now - back.began == 2.0, "it took two seconds, and goes on from there"
    assert back.opened == ("an exhibit",)
    assert desk.next(bob).id not in (handed.id, later.id), "nobody else is given it meanwhile"
    desk.say(ann, back.id, first(back, "ann"))
    assert desk.next(ann).id == later.id
    assert desk.register.of_rater(ann) == (1, 2)


def test_to_go_is_what_may_still_come(where: Path | str) -> None:
    """Neither what others have judged as often as it has to be, nor what is kept for one of them."""
    desk, _, ann, bob = laid(where)
    desk.tray.put("f" * 16, "trial", sheets(5)[3:], only=bob)
    assert (desk.register.of_rater(ann), desk.register.of_rater(bob)) == ((0, 3), (0, 5))
    judge(desk, bob)
    assert (desk.register.of_rater(ann), desk.register.of_rater(bob)) == ((0, 2), (1, 4))
    while judge(desk, ann):
        pass
    assert (desk.register.of_rater(ann), desk.register.of_rater(bob)) == ((2, 0), (1, 2))


@pytest.mark.parametrize("name", ["", "  ", "a" * 81, "a" * 79 + "  "])
def test_what_is_no_name_is_refused(where: Path | str, name: str) -> None:
    desk, *_ = laid(where)
    with pytest.raises(Refused, match="is no rater's name: write 1 to 80 characters"):
        desk.register.invite(["carol", name])
    assert [r.name for r in desk.register.all()] == ["ann", "bob"], "nobody else is written down"
    assert desk.register.invite(["a" * 80])[0].name == "a" * 80


def test_what_the_run_took_cannot_be_undone(where: Path | str) -> None:
    desk, _, ann, _ = laid(where)
    judge(desk, ann)
    assert len(desk.tray.collect(KEY, "0")) == 1
    with pytest.raises(TooLate, match="the run has taken"):
        desk.undo(ann)


def test_what_waits_for_an_earlier_plan_is_put_away_and_comes_back_with_it(where: Path | str) -> None:
    desk, _, ann, bob = laid(where)
    judge(desk, ann)
    held = desk.next(ann)
    desk.tray.put_away({"fedcba9876543210"})
    assert desk.next(bob) is None
    with pytest.raises(TooLate, match="no longer needed"):
        desk.say(ann, held.id, first(held, "ann"))
    desk.tray.put(KEY, "0", sheets(3))
    assert desk.next(ann).id == held.id
    assert desk.next(bob).id not in (held.id, case_id(KEY, sheets(1)[0].case))
    judge(desk, ann)
    judge(desk, bob)
    assert len(desk.tray.collect(KEY, "0")) == 3


def test_twenty_at_once_lose_nothing_and_count_nothing_twice(where: Path | str) -> None:
    count, people = 60, 20
    desk, _, *ids = laid(where, count=count, wanted=2, names=tuple(f"r{i}" for i in range(people)))
    kept: list[tuple[str, int]] = []
    errors: list[BaseException] = []

    def work(rater: int) -> None:
        own, steps = Desk(where, lease=60), 0  # as another server, or another process, would
        try:
            while handed := own.next(rater):
                steps += 1
                own.say(rater, handed.id, first(handed, str(rater)))
                kept.append((handed.id, rater))
                if steps % 4 == 1:  # thinks better of it, and judges the case again
                    own.undo(rater)
                    kept.remove((handed.id, rater))
        except BaseException as error:
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(rater,)) for rater in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert errors == []
    assert len(kept) == len(set(kept)) == 2 * count
    taken = desk.tray.collect(KEY, "0")
    assert sorted((case_id(KEY, case), int(f.evaluator)) for case, said in taken.items() for f in said) == sorted(kept)


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_desk import first
from rrm.desk import Desk
where = {where!r}
desk = Desk(where if "://" in where else Path(where))
while handed := desk.next(1):
    desk.say(1, handed.id, first(handed, "ann"))
    print(handed.sheet.case, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(where: Path | str) -> None:
    desk, *_ = laid(where, count=400)
    script = KILLED.format(path=[p for p in sys.path if p], where=str(where))
    told: list[str] = []
    for turn in range(3):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
            told += [process.stdout.readline().strip() for _ in range(15 + 11 * turn)]
            os.kill(process.pid, signal.SIGKILL)
            told += process.stdout.read().split("\n")[:-1]
    assert 50 < len(told) == len(set(told)) < 400
    said = desk.tray.collect(KEY, "0")
    assert set(told) <= set(said)
    assert len(said) - len(told) <= 3, "of each, one at most was kept and not told"
    assert all(len(of_case) == 1 for of_case in said.values())


def test_links_are_signed_for_their_purpose_and_stay_the_same(where: Path | str) -> None:
    desk, *_ = laid(where)
    secret = desk.register.secret()
    assert desk_at(where).register.secret() == secret
    token = signed(secret, "link", "7")
    assert opened(secret, "link", token) == "7"
    assert opened(secret, "session", token) is None
    assert opened(secret, "link", token.replace("7.", "8.")) is None
    assert opened(b"another", "link", token) is None
    assert opened(secret, "link", "") is None


def test_a_desk_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "desk.sqlite").write_text("this is no database, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Desk(tmp_path / "desk.sqlite")
    with pytest.raises(StoreError, match="Write a URL such as"):
        Desk("nonsense://here")
    with pytest.raises(StoreError, match="Check that the database is there") as told:
        Desk("postgresql+psycopg://ann:secret@127.0.0.1:1/none")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["", "sqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_the_files_are_for_their_owner_alone(tmp_path: Path, url: str) -> None:
    """While it is open as well: the key stands first in the file in which SQLite writes ahead."""
    path = tmp_path / "desk.sqlite"
    before = os.umask(0o022)
    try:
        desk = desk_at(url.format(path) if url else path)
        desk.register.secret()
        files = ["desk.sqlite", "desk.sqlite-shm", "desk.sqlite-wal"]
        assert sorted((f.name, f.stat().st_mode & 0o777) for f in tmp_path.iterdir()) == [(f, 0o600) for f in files]
        for file in tmp_path.iterdir():
            file.chmod(0o644)  # as an earlier version left them
        desk_at(url.format(path) if url else path)
        assert {f.stat().st_mode & 0o777 for f in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)
        close_all()


def test_a_desk_in_no_folder_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"none.desk.sqlite: No such file or directory. Check that the folder is there"
    ):
        Desk(tmp_path / "none" / "desk.sqlite")
