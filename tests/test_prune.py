"""What later plans replaced goes, and nothing else: not what cannot be said again, and nothing outside the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDY, Rrm

from rrm import Arm, Case, Evaluator, Item, Rating, Seed, Store, StoreError, Task, prune
from rrm.registry import EVALUATORS, Registry

OLD, NEW = "0" * 15 + "a", "0" * 15 + "b"


class Moody(Evaluator):
    """Not a person; but asked again it says something else, and it costs something."""

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Rating]:
        return (Rating(case=c.id, evaluator="moody", score=0.5) for c in cases)


def replaced(folder: Path, evaluator: Any, key: str = OLD) -> Store:
    """A record of two finished plans of one arm; the evaluator judged in the first."""
    store, nodes = Store(folder), {"sum": {"task": "column-sum", "cast": {"evaluator": evaluator}}}
    plan: dict[str, Any] = {"seed": 0, "node": nodes}
    store.append("study", "arms", [Arm(name="run", seed=0, plan=plan, nodes={"sum": k}) for k in (key, NEW)])
    for node in (OLD, NEW):
        store.append(node, "0/feedback", [Rating(case="c", evaluator="ann", score=1.0)])
        store.save_agent(node, "published", lambda folder: None)
    return store


@pytest.mark.parametrize(
    ("evaluator", "kept"),
    [
        ("simulated", False),
        ("oracle", False),
        ("terminal", True),
        ("moody", True),
        ({"use": "replay", "run": "elsewhere"}, True),
        ("gone.py:Gone", True),
        ("no-such", True),
        ({"use": "simulated", "no_such_setting": 1}, True),
    ],
)
def test_what_cannot_be_said_again_is_kept(
    evaluator: Any, kept: bool, tmp_path: Path, rrm: Rrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Registry.get
    monkeypatch.setattr(
        Registry, "get", lambda self, name: Moody if (self, name) == (EVALUATORS, "moody") else real(self, name)
    )
    store = replaced(tmp_path, evaluator)
    listed = f"sum  {OLD}  agent {'(its judgements are kept)' if kept else 'and record'}\n"
    assert rrm("prune", tmp_path).out.startswith(listed)
    assert rrm("prune", tmp_path, "--yes").out.startswith(listed)
    assert store.length(OLD, "0/feedback") == kept
    assert store.length(NEW, "0/feedback") == 1
    assert (store.has_agents(OLD), store.has_agents(NEW)) == (False, True)
    assert rrm("prune", tmp_path).out == "No node is superseded.\n", "nothing is left to delete"


def test_a_component_in_a_file_is_not_run_to_find_out(tmp_path: Path, rrm: Rrm) -> None:
    file = tmp_path / "own.py"
    file.write_text("from pathlib import Path\nfrom rrm.evaluators.simulated import Simulated\n"
        "Path(__file__).with_name('ran').touch()\nclass Own(Simulated):\n    pass\n")  # fmt: skip
    store = replaced(tmp_path / "run", f"{file}:Own")
    assert "(its judgements are kept)" in rrm("prune", store.folder, "--yes").out
    assert store.length(OLD, "0/feedback") == 1
    assert not (tmp_path / "ran").exists()


def test_the_record_becomes_smaller(tmp_path: Path, rrm: Rrm) -> None:
    store = replaced(tmp_path, "simulated")
    store.append(OLD, "0/cases", [Item(task="column-sum", prompt=str(i) * 50) for i in range(500)])
    store.compact()
    before = (tmp_path / "record.sqlite").stat().st_size
    rrm("prune", tmp_path, "--yes")
    assert (tmp_path / "record.sqlite").stat().st_size < before / 2


@pytest.mark.parametrize("key", ["{outside}", "../outside", "..", "", ".", "study", "meta\n", OLD.upper()])
def test_a_record_that_names_another_folder_deletes_nothing(key: str, tmp_path: Path, rrm: Rrm) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("dear")
    key = key.format(outside=outside)
    store = replaced(tmp_path / "run", "simulated", key)
    before = list(store.export())
    for arguments in (("prune", store.folder, "--yes"), ("prune", store.folder), ("show", store.folder)):
        said = rrm(*arguments)
        assert said.code == 1
        assert "is not the key of a node" in said.err
        assert len(said.err.splitlines()) == 1
    with pytest.raises(StoreError, match="is not the key of a node"):
        prune.prune(store)
    assert list(store.export()) == before
    assert store.has_agent(OLD, "published")
    assert (outside / "letter").read_text() == "dear"


@pytest.mark.parametrize("link", ["agents", f"agents/{OLD}"])
def test_a_link_out_of_the_folder_is_not_followed(link: str, tmp_path: Path, rrm: Rrm) -> None:
    store = replaced(tmp_path / "run", "simulated")
    place = store.folder / link
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    said = rrm("prune", store.folder, "--yes")
    assert said.code == 1
    assert "a link leads out of the run's folder" in said.err
    assert store.has_agent(OLD, "published")
    assert store.length(OLD, "0/feedback") == 1
    with pytest.raises(StoreError, match="a link leads out"):
        store.save_agent(OLD, "published", lambda folder: None)
    with pytest.raises(StoreError, match="a link leads out"):
        store.tidy_agents(OLD, "round-0")
    assert store.has_agent(OLD, "published")


def test_a_run_may_stand_behind_a_link_as_a_whole(tmp_path: Path, rrm: Rrm) -> None:
    replaced(tmp_path / "run", "simulated")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert "1 superseded, deleted." in rrm("prune", tmp_path / "link", "--yes").out


def states(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^(\w+) +[0-9a-f]{16} +run, seed 7 +(.*?) *$", text, re.MULTILINE)


def test_a_plan_that_did_not_come_to_its_end_replaces_nothing(study: Path, rrm: Rrm, tmp_path: Path) -> None:
    """It fails at once; the finished nodes are all that there is. Once a plan is finished, it replaces all before."""
    out = tmp_path / "out"
    assert rrm("run", study, "--out", out, "-w", 1).code == 0
    (tmp_path / "lazy.py").write_text("from rrm import Evaluator\nclass Lazy(Evaluator):\n"
        "    def judge(self, task, cases, *, seed, done=0):\n        return iter(())\n")  # fmt: skip
    lazy = tmp_path / "lazy.toml"
    lazy.write_text(STUDY.replace('"simulated", budget = 5', '"lazy.py:Lazy"'))
    assert rrm("run", lazy, "--out", out, "-w", 1).code == 3
    assert rrm("prune", out, "--yes").out == "No node is superseded.\n"
    done, begun = ("total", "trained"), ("block", "round 0: 0 of 6 cases judged")
    assert states(rrm("show", out).out) == [("block", "trained"), done, begun, ("total", "not begun")]
    assert "not judged yet" not in rrm("show", out, "block/0/0").out, "a case is looked up first in what counts"
    told = json.loads(rrm("report", out, "--json").out)
    assert told["arms"][0]["nodes"]["total"]["finished"], "reports are of the newest plan that is trained to its end"
    assert told["arms"][0]["nodes"]["total"]["truth"] is not None
    (newer,) = [text for text in told["limits"] if "newer plan" in text]
    assert newer.startswith("A newer plan of run (seed 7) is begun and not finished, 0 of its 2 nodes trained")
    assert rrm("run", study, "--out", out, "-w", 1, "--set", "effort.cases=7").code == 0
    assert [s for _, s in states(rrm("show", out).out) if s.endswith("superseded")] == [
        "trained, superseded", "trained, superseded", "round 0: 0 of 6 cases judged, superseded",
    ]  # fmt: skip
    assert not [text for text in json.loads(rrm("report", out, "--json").out)["limits"] if "newer plan" in text]
    assert "2 superseded, deleted." in rrm("prune", out, "--yes").out, "a component in a file may have asked somebody"
