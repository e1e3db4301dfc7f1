from __future__ import annotations

import gc
import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from rrm import Item, MissingWeights, Response, Store, StoreError, store
from rrm.records import FEEDBACK, Preference

ROOT = Path(__file__).parent.parent
KEY = "0123456789abcdef"


def items(*prompts: str) -> list[Item]:
    return [Item(task="t", prompt=p) for p in prompts]


def test_what_was_written_is_read_in_order_by_anyone(tmp_path: Path) -> None:
    Store(tmp_path).append("n", "s", items("a", "b"))
    Store(tmp_path).append("n", "s", items("c"))
    again = Store(tmp_path, create=False)
    assert again.read("n", "s", Item) == dict(enumerate(items("a", "b", "c")))
    assert (again.length("n", "s"), again.streams("n"), again.length("n", "other")) == (3, ["s"], 0)
    assert again.find(items("b")[0].id) == ("n", "s", 1)
    assert again.find("0" * 16) is None


def test_the_lengths_of_streams_are_told_by_how_their_names_start(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    for node, stream in (
        ("n", "spot-1/cases"),
        ("n", "spot-10/cases"),
        ("n", "spo"),
        ("n", "spot."),
        ("m", "spot-1/cases"),
    ):
        kept.append(node, stream, items("a", "b"))
    kept.append("n", "spot-1/cases", items("c"))
    assert kept.lengths("n", "spot-") == {"spot-1/cases": 3, "spot-10/cases": 2}
    assert kept.lengths("n") == {stream: kept.length("n", stream) for stream in kept.streams("n")}
    assert kept.lengths("n", "gate-") == {}


@pytest.mark.parametrize("name", ["why?", "50%", "no#1", "a%20b", "x?mode=memory", "ä ü&="])
def test_a_folder_of_any_name_holds_its_record(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    Store(folder).append("n", "s", items("a"))
    gc.collect()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert Store(folder, create=False).read("n", "s", Item) == dict(enumerate(items("a")))


def test_one_record_is_read_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("n", "s", items("a", "b", "c"))
    assert store.read_one("n", "s", 1, Item) == items("b")[0]
    assert store.read_one("n", "s", 3, Item) is None
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        db.execute("UPDATE records SET body = 'x' WHERE seq = 2")
    assert store.read_one("n", "s", 1, Item) == items("b")[0]
    with pytest.raises(StoreError, match="is damaged"):
        store.read_one("n", "s", 2, Item)


def test_a_record_is_found_in_the_streams_that_are_meant(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for stream in ("0/answers/0", "0/cases", "1/cases"):
        store.append("n", stream, items("a", stream))
    assert store.find(items("a")[0].id) == ("n", "0/answers/0", 0)
    assert store.find(items("a")[0].id, ending="/cases") == ("n", "0/cases", 0)
    assert store.find(items("1/cases")[0].id, ending="/cases") == ("n", "1/cases", 1)
    assert store.find(items("0/answers/0")[0].id, ending="/cases") is None


def test_what_streams_there_are_is_found_without_a_look_at_every_record(tmp_path: Path) -> None:
    """In steps of sqlite's machine: a few dozen for each name, where 20,000 records would take as many and more."""
    writer = Store(tmp_path)
    for stream in ("s", "t"):
        writer.append("n", stream, (Item(task="t", prompt=str(i)) for i in range(10_000)))
    store, steps = Store(tmp_path, create=False), list[int]()
    event.listen(store._reader, "connect", lambda db, _: db.set_progress_handler(lambda: steps.append(100), 100))
    assert store.streams("n") == ["s", "t"]
    assert store.places() == [("n", "s"), ("n", "t")]
    assert sum(steps) < 5000


def test_places_are_those_of_the_records(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    assert kept.places() == []
    for node, stream in (("b", "s"), ("a", "t"), ("a", "s"), ("a", "t")):
        kept.append(node, stream, items("x", "y"))
    assert kept.places() == [("a", "s"), ("a", "t"), ("b", "s")]


def test_an_onlooker_sees_what_is_written_while_it_looks_and_changes_no_file(tmp_path: Path) -> None:
    Store(tmp_path).append("n", "s", items("a"))
    gc.collect()  # closes it
    assert [p.name for p in tmp_path.iterdir()] == ["record.sqlite"]
    looking = Store(tmp_path, create=False)
    before = (tmp_path / "record.sqlite").read_bytes()
    assert looking.length("n", "s") == 1
    writing = Store(tmp_path)
    writing.append("n", "s", items("b"))
    assert looking.length("n", "s") == 2
    assert (tmp_path / "record.sqlite").read_bytes() == before  # it is in the log
    del writing
    gc.collect()
    assert looking.length("n", "s") == 2
    assert [p.name for p in tmp_path.iterdir()] == ["record.sqlite"]


def test_a_run_that_ends_leaves_no_log(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rrm import Item, Store\n"
        "kept = Store(Path(sys.argv[1])); kept.append('n', 's', [Item(task='t', prompt='a')])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert [p.name for p in tmp_path.iterdir()] == ["record.sqlite"]


def test_feedback_comes_back_as_its_kind(tmp_path: Path) -> None:
    said = Preference(case="c", evaluator="e", first_better=0.5)
    Store(tmp_path).write("n", "s", [(4, said)])
    assert Store(tmp_path).read("n", "s", FEEDBACK) == {4: said}


def test_a_place_is_written_once_and_then_nothing_of_a_batch(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    kept.write("n", "s", enumerate(items("a", "b")))
    with pytest.raises(StoreError, match="recorded twice"):
        kept.write("n", "s", enumerate(items("x", "y", "z"), 1))
    assert kept.read("n", "s", Item) == dict(enumerate(items("a", "b")))


def test_a_batch_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[int, Item]]:
        yield 0, items("a")[0]
        raise RuntimeError("the evaluator fell asleep")

    kept = Store(tmp_path)
    with pytest.raises(RuntimeError):
        kept.write("n", "s", failing())
    assert kept.length("n", "s") == 0


def test_a_record_survives_the_process_that_wrote_it(tmp_path: Path) -> None:
    """Killed at once after `append` returned: what it said is durable is there."""
    code = (
        "import os, sys; from pathlib import Path; from rrm import Item, Store\n"
        "Store(Path(sys.argv[1])).append('n', 's', [Item(task='t', prompt='a')]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert Store(tmp_path, create=False).read("n", "s", Item) == {0: items("a")[0]}


def test_several_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rrm import Item, Store\n"
        "kept = Store(Path(sys.argv[1]))\n"
        "for i in range(60): kept.append(sys.argv[2], 's', [Item(task=sys.argv[2], prompt=str(i))])\n"
        "for i in range(20): kept.spend('shared', {'ask': 0.5})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path, f"n{i}"], env=environment) for i in range(4)]
    assert [w.wait() for w in writers] == [0] * 4
    kept = Store(tmp_path, create=False)
    for i in range(4):
        assert [r.prompt for r in kept.read(f"n{i}", "s", Item).values()] == [str(k) for k in range(60)]
    assert kept.spent("shared") == {"ask": 40.0}


def test_export_is_in_canonical_order_whatever_the_order_of_writing(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    entries = [("b", "s", 0, "x"), ("a", "t", 1, "y"), ("a", "t", 0, "z"), ("a", "s", 10, "u"), ("a", "s", 9, "v")]
    for kept, order in ((one, entries), (other, entries[::-1])):
        for node, stream, seq, prompt in order:
            kept.write(node, stream, [(seq, items(prompt)[0])])
    other.spend("a", {"ask": 1.0})  # timings are apart
    assert list(one.export()) == list(other.export())
    assert [(e["node"], e["stream"], e["seq"]) for e in one.export()] == sorted(e[:3] for e in entries)


def test_what_was_altered_is_found_out(tmp_path: Path) -> None:
    Store(tmp_path).append("n", "s", items("a", "b"))
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        db.execute("update records set body = replace(body, 'b', 'c') where seq = 1")
    with pytest.raises(StoreError, match=r"n s 1\) is damaged: its text does not match its id"):
        Store(tmp_path).read("n", "s", Item)


def test_a_record_of_another_type_is_found_out(tmp_path: Path) -> None:
    Store(tmp_path).append("n", "s", items("a"))
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path).read("n", "s", Response)


# -- versions ---------------------------------------------------------------------------------------------------------


def set_version(folder: Path, version: object) -> None:
    with sqlite3.connect(folder / "record.sqlite") as db:
        db.execute("update meta set value = ?", (str(version),))


def version(folder: Path) -> str:
    with sqlite3.connect(folder / "record.sqlite") as db:
        return str(db.execute("select value from meta").fetchone()[0])


def test_a_newer_record_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Store(tmp_path)
    set_version(tmp_path, store.SCHEMA + 1)
    with pytest.raises(StoreError, match="newer rrm"):
        Store(tmp_path)
    assert version(tmp_path) == str(store.SCHEMA + 1)


def test_an_older_record_is_brought_up_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).append("n", "s", items("a"))
    steps: list[int] = []

    def step(number: int) -> None:
        def migrate(db: Connection) -> None:
            steps.append(number)
            db.exec_driver_sql(f"create table step_{number} (x)")

        monkeypatch.setitem(store.MIGRATIONS, number, migrate)

    monkeypatch.setattr(store, "SCHEMA", store.SCHEMA + 2)
    for number in range(store.SCHEMA - 2, store.SCHEMA):
        step(number)
    kept = Store(tmp_path, create=False)
    assert steps == [store.SCHEMA - 2, store.SCHEMA - 1]
    assert version(tmp_path) == str(store.SCHEMA)
    assert kept.read("n", "s", Item) == {0: items("a")[0]}
    Store(tmp_path)
    assert len(steps) == 2  # and not again


def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path)
    was = store.SCHEMA

    def half(db: Connection) -> None:
        db.exec_driver_sql("create table half (x)")
        raise RuntimeError("power cut")

    monkeypatch.setattr(store, "SCHEMA", was + 1)
    monkeypatch.setitem(store.MIGRATIONS, was, half)
    with pytest.raises(RuntimeError):
        Store(tmp_path)
    assert version(tmp_path) == str(was)
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        assert not db.execute("select 1 from sqlite_master where name = 'half'").fetchall()


def test_a_version_that_no_step_leads_from(tmp_path: Path) -> None:
    Store(tmp_path)
    set_version(tmp_path, 0)
    with pytest.raises(StoreError, match="too old"):
        Store(tmp_path)


# -- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    kept = Store(tmp_path)

    def half(folder: Path) -> None:
        (folder / "weights").write_text("w")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device\. Free some space"):
        kept.save_agent(KEY, "round-0", half)
    assert not kept.has_agent(KEY, "round-0")
    assert list((tmp_path / "agents" / KEY).iterdir()) == []
    kept.save_agent(KEY, "round-0", lambda folder: (folder / "weights").write_text("w"))
    assert (kept.check_agent(KEY, "round-0") / "weights").read_text() == "w"


def test_saving_again_replaces_and_promoting_leaves_nothing_else(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    for text in ("old", "newer"):
        kept.save_agent(KEY, "round-0", lambda folder, text=text: (folder / "weights").write_text(text))  # type: ignore[misc]
    (tmp_path / "agents" / KEY / "round-1.part-99").mkdir()
    (tmp_path / "agents" / KEY / ".DS_Store").write_text("icons")
    kept.promote_agent(KEY, "round-0", "published")
    assert [p.name for p in (tmp_path / "agents" / KEY).iterdir()] == ["published"]
    assert (kept.agent_folder(KEY, "published") / "weights").read_text() == "newer"
    kept.promote_agent(KEY, "round-0", "published")  # again, as a resumed run does


@pytest.mark.parametrize("spoil", ["missing", "shorter", "altered", "no list", "a list that is none", "gone"])
def test_weights_that_are_not_as_they_were_saved(spoil: str, tmp_path: Path) -> None:
    kept = Store(tmp_path)
    kept.save_agent(KEY, "published", lambda folder: (folder / "weights").write_text("w" * 10))
    folder = kept.agent_folder(KEY, "published")
    if spoil == "missing":
        (folder / "weights").unlink()
    elif spoil == "shorter":
        (folder / "weights").write_text("w")
    elif spoil == "altered":
        (folder / "weights").write_text("w" * 9 + "v")
    elif spoil == "no list":
        (folder / "saved.json").write_text("{")
    elif spoil == "a list that is none":
        (folder / "saved.json").write_text("[1]")
    else:
        (folder / "saved.json").unlink()
    named = "weights: " if spoil in ("missing", "shorter", "altered") else ""
    with pytest.raises(MissingWeights, match=f"{named}.*Delete"):
        kept.check_agent(KEY, "published")


def test_equal_agents_are_saved_as_equal_bytes(tmp_path: Path) -> None:
    def write(folder: Path, names: str) -> None:
        for name in names:
            (folder / name).write_text(name)

    for run, names in (("one", "abc"), ("other", "cba")):
        Store(tmp_path / run).save_agent(KEY, "published", partial(write, names=names))
    one, other = ((tmp_path / run / f"agents/{KEY}/published/saved.json").read_bytes() for run in ("one", "other"))
    assert one == other


def test_a_file_in_place_of_a_checkpoint_is_dropped_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    place = kept.agent_folder(KEY, "round-0")
    place.parent.mkdir(parents=True)
    place.write_text("?")
    kept.drop_agent(KEY, "round-0")
    assert not place.exists()
    kept.drop_agent(KEY, "round-0")  # again, as a resumed run does
    with pytest.raises(StoreError, match="No such file"):
        kept.tidy_agents("0" * 16, "published")


class Crash(BaseException):
    """Stands for the power being cut: nothing catches it."""


def test_forgetting_may_be_cut_off_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No node counts as trained whose record is gone; and forgetting again, or training again, leaves nothing."""
    left = 0

    def cutting(place: Any, name: str, *, after: bool = False) -> None:
        real = getattr(place, name)

        def cut(*given: Any, **more: Any) -> Any:
            nonlocal left
            found = real(*given, **more) if after else None
            left -= 1
            if left == 0:
                raise Crash
            return found if after else real(*given, **more)

        monkeypatch.setattr(place, name, cut)

    for name in ("_remove", "_sync"):
        cutting(store, name)
    cutting(Path, "rename")
    cutting(os, "unlink", after=True)  # within the removal of a folder
    for again in ("forget", "tidy"):
        for number in itertools.count(1):
            left, kept = 0, Store(tmp_path / again / str(number))
            kept.append(KEY, "s", items("a", "b"))
            kept.save_agent(KEY, "published", lambda folder: (folder / "weights").write_text("w"))
            left = number
            try:
                kept.forget(KEY, records=True)
            except Crash:
                left = 0
                assert not kept.has_agent(KEY, "published") or kept.length(KEY, "s") == 2, number
            else:
                break
            if again == "forget":
                kept.forget(KEY, records=True)
                assert not kept.has_agents(KEY)
                assert kept.length(KEY, "s") == 0
            else:
                kept.save_agent(KEY, "published", lambda folder: None)
                kept.tidy_agents(KEY, "published")
            assert not list(kept.folder.rglob("*.part*"))
        assert number > 5


def test_what_was_deleted_is_given_back_to_the_disk(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    for node in ("0" * 16, KEY):
        kept.append(node, "s", items(*(str(i) * 50 for i in range(1000))))
    looking = Store(tmp_path, create=False)
    kept.forget(KEY, records=True)
    kept.compact()
    room = (tmp_path / "record.sqlite").stat().st_size
    assert 100_000 < room < 250_000  # a record takes about 200 bytes
    assert (looking.length(KEY, "s"), looking.length("0" * 16, "s")) == (0, 1000)
    kept.append(KEY, "s", items("a"))
    assert looking.length(KEY, "s") == 1


def test_a_folder_that_holds_no_run_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run here"):
        Store(tmp_path / "new", create=False)
    assert not (tmp_path / "new").exists()
