"""A component's identity covers its code, what that code imports of its own, and the files that it reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

from rrm.identity import code_of, contents_of, identity
from rrm.registry import ASSISTANTS, TASKS

PACKAGE = {
    "__init__.py": "",
    "_sums.py": "def add(a, b):\n    return a + b\n",
    "task.py": (
        "from rrm import Item, Task\nfrom mine._sums import add\n\n\nclass Mine(Task):\n"
        "    def sample(self, rng, *, held_out=False):\n        return Item(task='mine', prompt=str(add(1, 2)))\n"
    ),
}


def hashed(folder: Path) -> str:
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); from mine.task import Mine\n"
    program += "from rrm.identity import code_of; print(code_of(Mine))"
    paths = {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=paths, capture_output=True, text=True, check=True).stdout


def test_a_changed_module_beside_it_changes_the_code_but_a_comment_does_not(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / name).write_text(text)
    before = hashed(tmp_path)
    (package / "_sums.py").write_text("# a comment\n" + PACKAGE["_sums.py"])
    assert hashed(tmp_path) == before
    (package / "_sums.py").write_text("def add(a, b):\n    return a - b\n")
    assert hashed(tmp_path) != before


def test_the_rooms_that_a_component_is_built_on_belong_to_it() -> None:
    kind = ASSISTANTS.get("word-transformer")
    assert code_of(kind) != code_of(ASSISTANTS.get("tree-transformer"))
    from rrm import identity as module

    names = set()
    waiting = [kind.__module__]
    while waiting:
        name = waiting.pop()
        path = module._source(name)
        if name not in names and path is not None:
            names.add(name)
            import ast

            waiting += [m for m in module._imports(ast.parse(path.read_bytes()), name) if module._belongs(m, name)]
    assert {"rrm.models.learner", "rrm.models.optimizer", "rrm.models.transformer", "rrm.models.noise"} <= names
    assert "rrm.store" not in names


def test_files_that_are_read_count_by_their_content(tmp_path: Path) -> None:
    text = tmp_path / "corpus.txt"
    rng = Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randrange(2, 9))) for _ in range(300)]
    text.write_text("\n\n".join(" ".join(rng.choices(words, k=40)) for _ in range(80)))
    before = identity(TASKS.build("letter-count", {"text": str(text)}))
    text.write_text(
        text.read_text() + "\n\nand one more paragraph of words, long enough to be counted among the others"
    )
    assert identity(TASKS.build("letter-count", {"text": str(text)})) != before


def test_contents_of_a_folder_follow_its_files(tmp_path: Path) -> None:
    assert contents_of(tmp_path / "nothing") == ""
    (tmp_path / "a").write_text("1")
    before = contents_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert contents_of(tmp_path) != before
