from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rrm import Assistant, SettingsError, Task, UnknownComponent, registry
from rrm.registry import ASSISTANTS, EVALUATORS, REGISTRIES, TASKS


@pytest.mark.parametrize("which", REGISTRIES, ids=lambda r: r.kind)
def test_every_listed_name_is_a_class_of_that_name(which: registry.Registry[Task]) -> None:
    assert which.names()
    for name in which.names():
        found = which.get(name)
        assert issubclass(found, which.base)
        assert found.name() == name
        assert which.module_of(name) == found.__module__


def test_listing_imports_no_component() -> None:
    code = (
        "import sys; from rrm.registry import REGISTRIES; [r.names() for r in REGISTRIES]\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers') or m == 'rrm_tasks.glossary'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_class_in_a_file_is_imported_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from rrm import Assistant\n"
        "class Mine(Assistant):\n"
        "    class Settings(Assistant.Settings):\n"
        "        word: str = 'x'\n"
        "    def respond(self, items, *, n=1, seeds):\n"
        "        return [[self.settings.word] * n for _ in items]\n"
    )
    assert ASSISTANTS.get(f"{file}:Mine") is ASSISTANTS.get(f"{file}:Mine")
    mine = ASSISTANTS.build(f"{file}:Mine", {"word": "y"})
    assert mine.respond([], n=1, seeds=[]) == []
    assert mine.name() == "mine"
    with pytest.raises(SettingsError, match=r"has no setting 'wort'\. Did you mean 'word'"):
        ASSISTANTS.build(f"{file}:Mine", {"wort": "y"})
    with pytest.raises(UnknownComponent, match="is not a task"):
        TASKS.get(f"{file}:Mine")


def test_what_a_file_defines_can_be_pickled_to_another_process(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from rrm import Task\nclass Mine(Task): ...\nclass Fault(Exception): ...\n")
    code = (
        "import pickle, sys; from rrm.registry import TASKS\nmodule = sys.modules[TASKS.get(sys.argv[1]).__module__]\n"
    )
    dump, load = (
        code + then
        for then in (
            "print(pickle.dumps(module.Fault('why')).hex())",
            "print(repr(pickle.loads(bytes.fromhex(sys.argv[2]))))",
        )
    )

    def said(code: str, salt: str, *more: str) -> str:
        command = [sys.executable, "-c", code, f"{file}:Mine", *more]
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert said(load, "2", said(dump, "1")) == "Fault('why')"


def test_components_name_the_files_that_they_read(tmp_path: Path) -> None:
    book, text = tmp_path / "book.json", tmp_path / "text"
    book.write_text('{"a": "b"}')
    text.write_text("\n\n".join(f"{a}{b} " * 40 for a in "abcdef" for b in "uvwxyz"))
    assert ASSISTANTS.build("answer-book", {"path": str(book)}).reads() == (book,)
    assert ASSISTANTS.build("answer-book").reads() == ()
    assert TASKS.build("letter-count", {"text": str(text)}).reads() == (text,)
    (default,) = TASKS.build("letter-count").reads()  # Python's own help, which differs from one Python to the next
    assert default.name == "topics.py"


def test_a_model_in_a_folder_is_read_and_a_name_on_the_hub_is_not(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert ASSISTANTS.build("transformer", {"model": str(tmp_path)}).reads() == (tmp_path,)
    assert ASSISTANTS.build("transformer", {"model": "gpt2"}).reads() == ()
    assert ASSISTANTS.build("transformer").reads() == ()


def test_names_that_are_nearly_right_are_suggested() -> None:
    with pytest.raises(UnknownComponent, match=r"no evaluator is called 'orakle'\. Did you mean 'oracle'"):
        EVALUATORS.get("orakle")
    with pytest.raises(UnknownComponent, match="There are: adaptive, chat, oracle, people, replay"):
        EVALUATORS.get("zzzzzz")


class Plug(Assistant):
    """Stands for an installed plug-in's."""

    def respond(self, items, *, n=1, seeds):  # type: ignore[no-untyped-def]
        return [["plug"] * n for _ in items]


def points(monkeypatch: pytest.MonkeyPatch, *made: EntryPoint) -> None:
    def found(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [p for p in made if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(registry, "entry_points", found)


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, EntryPoint("plug", "test_registry:Plug", "rrm.assistants"))
    assert ASSISTANTS.names()["plug"] == "test_registry:Plug"
    assert ASSISTANTS.get("plug").name() == "plug"
    assert ASSISTANTS.module_of("plug") == "test_registry"


def test_a_plug_in_that_cannot_be_loaded_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, EntryPoint("gone", "nowhere_at_all:Gone", "rrm.assistants"))
    with pytest.raises(UnknownComponent, match="plug-in 'nowhere_at_all:Gone' cannot be loaded"):
        ASSISTANTS.get("gone")


def test_two_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, EntryPoint("cached", "test_registry:Plug", "rrm.assistants"))
    with pytest.raises(UnknownComponent, match="two assistants are called 'cached'"):
        ASSISTANTS.names()
