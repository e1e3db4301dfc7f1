"""What must stay true of the code as a whole: layers, the front door, what loads what, names, and the catalogues."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rrm
from rrm.registry import ASSISTANTS, TASKS

ROOT = Path(__file__).parent.parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("seed", "errors", "inert", "records"),
    ("blocks",),
    ("roles", "drawn"),
    ("graph", "asking", "store", "measure", "desk"),
    ("faults", "raters", "trial"),
    ("control", "figures", "registry", "testing", "picture", "identity", "standing"),
    ("layering", "exchange"),
    ("plan", "reach"),
    ("models",),
    ("training.feedback", "training.objective"),
    ("training.choice_table",),
    ("protocols", "evaluators", "selection", "training.reward", "training.policy", "training.terms"),
    ("node",),
    ("tree", "hearing", "given", "cases"),
    ("exam", "gate"),
    ("spot",),
    ("assemble", "level"),
    ("job",),
    ("worker",),
    ("build",),
    ("pace", "conduct"),
    ("cost", "report", "prune", "verify", "rejudge", "web"),
    ("cli",),
    ("__main__",),
)
"""From the bottom up. A module imports from the layers below its own, and inside its own folder; never from its
neighbours. Nobody imports from the rooms of components (`ROOMS`): the registry finds them by name."""

ROOMS = frozenset(LAYERS[11])
ROOMS_MAY_USE = frozenset(part for layer in (*LAYERS[:4], *LAYERS[8:11]) for part in layer) | {"control", "raters"}
"""A component knows nothing of plans, of the registry, or of what checks and draws it."""
TORCH = ("models", "training.choice_table", "training.reward", "training.policy", "rrm_assistants")
"""Only these may import torch, transformers or safetensors."""
RANK = {part: number for number, layer in enumerate(LAYERS) for part in layer}
CONTENT = ("rrm_tasks", "rrm_assistants")
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "misc", "core"}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package, source in {"rrm": ROOT / "rrm", **{c: ROOT / c.split("_")[1] / c for c in CONTENT}}.items():
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join([package, *(p for p in parts if p != "__init__")])] = path
    return found


MODULES = modules()


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(node: ast.AST) -> Iterator[str]:
    """What code imports when it runs, inside functions too; `from a import b` is a.b where that is a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                below = f"{child.module}.{alias.name}"
                if below not in ("rrm.__version__", "rrm.__all__"):  # which stand in the front door itself
                    yield below if below in MODULES else str(child.module)
        elif not is_type_checking(child):
            yield from imports(child)


def part_of(name: str) -> str:
    """The entry of LAYERS that a module of rrm belongs to. Raises KeyError where it has none yet."""
    inside = name.removeprefix("rrm.")
    return next((p for p in (inside, *(inside[: m.start()] for m in re.finditer(r"\.", inside))) if p in RANK), inside)


def test_contributing_draws_the_layers_as_they_are() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = re.search(r"## Layers.*?```text\n(.*?)\n -{9}", page, re.DOTALL)
    assert drawn
    lines = [re.split(r" {3,}", line.strip())[0] for line in drawn[1].splitlines()]  # without what is said of them
    layers = [frozenset(line.replace("/", ".").split()) for line in lines]
    assert layers[::-1] == [frozenset(layer) for layer in LAYERS if layer != ("__main__",)]


LAYERED = [n for n in MODULES if n.startswith("rrm.") and n != "rrm.training"]


@pytest.mark.parametrize("name", LAYERED)
def test_imports_point_down(name: str) -> None:
    own = part_of(name)
    assert own in RANK, f"{name} stands in no layer: give it a place in LAYERS"
    for imported in imports(tree(name)):
        if imported == "rrm":
            raise AssertionError(f"{name} imports the front door, which is for users of the library")
        if not imported.startswith("rrm."):
            assert not imported.startswith(CONTENT), f"{name} imports content: {imported}"
            continue
        part = part_of(imported)
        if part == own:
            continue
        assert RANK[part] < RANK[own], f"{name} imports {imported}, which is not below it"
        assert part not in ROOMS, f"{name} imports {imported}: components are found through the registry"
        if own in ROOMS:
            assert part in ROOMS_MAY_USE, f"{name} imports {imported}, of which a component should know nothing"


def test_every_layer_is_there() -> None:
    assert {part_of(name) for name in LAYERED} == set(RANK)


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(CONTENT)])
def test_content_imports_the_front_door_alone(name: str) -> None:
    own = name.partition(".")[0]
    for imported in imports(tree(name)):
        if imported.startswith(("rrm.", *CONTENT)):
            allowed = imported.startswith(("rrm.models.", f"{own}.")) or imported in (
                "rrm.testing",
                "rrm.control",
                "rrm.reach",
            )
            assert allowed, f"{name} imports {imported}; write `from rrm import …`"


def test_torch_is_kept_in_its_rooms() -> None:
    heavy = {"torch", "transformers", "safetensors"}
    found = {name for name in MODULES if heavy & {i.partition(".")[0] for i in imports(tree(name))}}
    outside = {name for name in found if not name.removeprefix("rrm.").startswith(TORCH)}
    # `rrm run` asks whether torch is loaded, without loading it
    assert outside == set()
    assert found


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


# -- the front door ---------------------------------------------------------------------------------------------------


def test_the_front_door_says_the_same_twice() -> None:
    (block,) = (node for node in tree("rrm").body if is_type_checking(node))
    assert isinstance(block, ast.If)
    told = set()
    for line in block.body:
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            assert alias.asname == alias.name, "re-exported names are written `import X as X`"
            told.add((str(line.module), alias.name))
    assert told == {(f"rrm.{module}", name) for name, module in rrm._MODULE.items()}


def test_every_public_name_is_where_the_front_door_says() -> None:
    assert rrm.__all__ == sorted(rrm._MODULE) == dir(rrm)
    for name, module in rrm._MODULE.items():
        assert getattr(rrm, name) is getattr(importlib.import_module(f"rrm.{module}"), name)
    with pytest.raises(AttributeError, match="no attribute 'Tsk'"):
        _ = rrm.Tsk


@pytest.mark.parametrize(
    "doing",
    ["import rrm", "import rrm; rrm.Task, rrm.Study, rrm.Report, rrm.Store", *(
        f"from rrm.cli import main\ntry:\n    main({arguments})\nexcept SystemExit as end:\n    assert not end.code"
        for arguments in (["--help"], ["--version"], ["list"], ["run", "--help"], ["graph", "configs/glossary.toml"])
    )],
)  # fmt: skip
def test_what_needs_no_torch_loads_none(doing: str) -> None:
    heavy = {"torch", "transformers", "sklearn", "fastapi", "uvicorn", "httpx", "pyarrow", "datasets"}
    asking = f"import sys; print('\\nloaded:', sorted({heavy} & set(sys.modules)))"
    said = subprocess.run(
        [sys.executable, "-c", f"{doing}\n{asking}"], capture_output=True, text=True, cwd=ROOT, check=True,
        env={"PYTHONPATH": ".:tasks:assistants", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert said.stdout.rstrip().endswith("loaded: []"), said.stdout[-300:]


# -- habits -----------------------------------------------------------------------------------------------------------


def calls(name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.Call))


@pytest.mark.parametrize("name", MODULES)
def test_habits(name: str) -> None:
    names = {node.id for node in ast.walk(tree(name)) if isinstance(node, ast.Name)}
    names |= {alias.name for node in ast.walk(tree(name)) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {ast.unparse(node) for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)}
    assert not {"Protocol", "runtime_checkable"} & names | {"typing.Protocol"} & attributes, "protocol means one thing"
    called = {ast.unparse(call.func) for call in calls(name)}
    if not name.startswith("rrm.cli"):
        assert "print" not in called, "only the command line prints"
        assert not {"typer.echo", "sys.exit"} & called
    assert not {"eval", "exec", "hasattr"} & called - ({"hasattr"} if name in PROBES else set())
    asserts = [node.lineno for node in ast.walk(tree(name)) if isinstance(node, ast.Assert)]
    assert not asserts, f"lines {asserts}: what a user got wrong raises an error that says what to write instead"


PROBES = {"rrm.cli", "rrm.registry", "rrm.models.language"}
"""They ask a stream, a module, and somebody else's network what they have; no component is ever probed."""

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_pickled(name: str) -> None:
    assert not PICKLES & {i.partition(".")[0] for i in imports(tree(name))}
    assert not {"torch.load", "torch.save", "np.load"} & {ast.unparse(call.func) for call in calls(name)}


@pytest.mark.parametrize("name", MODULES)
def test_names_say_something(name: str) -> None:
    assert not VAGUE & {part.strip("_") for part in name.split(".")}
    assert ast.get_docstring(tree(name)), "a module says what it is for"


# -- what the docs say of the tree ------------------------------------------------------------------------------------


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring, or of a config's first comment line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return text.split("\n", 1)[0].lstrip("# ").strip()
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n", 1)[0].replace("\n", " ")
    return re.split(r"(?<=\.) (?=[A-Z])", first, maxsplit=1)[0]


def tree_lines(folder: Path, depth: int = 0) -> Iterator[str]:
    """A folder and what is in it, one bullet each, as the README's tree has it; private modules are left out."""
    at, indent = folder.relative_to(ROOT), "  " * depth
    yield f"{indent}- [{folder.name}/]({at}): {sentence(folder / '__init__.py')}"
    for path in sorted(folder.glob("*.py"), key=lambda p: p.name):
        if not path.name.startswith("_"):
            yield f"{indent}  - [{path.name}]({at / path.name}): {sentence(path)}"
    for below in sorted(p for p in folder.iterdir() if (p / "__init__.py").is_file()):
        yield from tree_lines(below, depth + 1)


def test_the_readme_draws_the_tree_as_it_is() -> None:
    lines = [
        *tree_lines(ROOT / "rrm"),
        *tree_lines(ROOT / "tasks" / "rrm_tasks"),
        *tree_lines(ROOT / "assistants" / "rrm_assistants"),
        "- [configs/](configs): Studies, each in one file.",
        *(f"  - [{p.name}](configs/{p.name}): {sentence(p)}" for p in sorted((ROOT / "configs").glob("*.toml"))),
    ]
    wanted = "\n".join(lines)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- tree:begin -->\n(.*?)\n<!-- tree:end -->", readme, re.DOTALL)
    assert found, "the README has no place for the tree"
    assert found[1].strip() == wanted, f"the README's tree should be:\n{wanted}"


@pytest.mark.parametrize("catalogue", ["tasks", "assistants"])
def test_catalogues_list_every_component(catalogue: str) -> None:
    names = (TASKS if catalogue == "tasks" else ASSISTANTS).names()
    text = (ROOT / catalogue / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    kinds_of_error = {"independent", "systematic", "adversarial", "silent"}
    assert sorted(n for n in listed if n not in kinds_of_error) == sorted(n for n in names if names[n] == "built in")


def test_the_catalogue_of_assistants_names_every_setting() -> None:
    text = (ROOT / "assistants" / "README.md").read_text(encoding="utf-8")
    common = {"explore", "temperature"}  # told once, for all learners
    for name in ASSISTANTS.names():
        (row,) = re.findall(rf"^\| `{name}` \|(.*)\|$", text, re.MULTILINE)
        listed = re.findall(r"`(\w+)`", row.rsplit("|", 1)[-1])
        assert sorted(listed) == sorted(set(ASSISTANTS.get(name).Settings.model_fields) - common), name


def test_every_dependency_ends_below_a_version_that_nobody_has_tried() -> None:
    """A release of tomorrow does not break a clone of today; and this very installation is one that is allowed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [r for rs in (project["dependencies"], *project["optional-dependencies"].values()) for r in rs]
    for requirement in map(Requirement, wanted):
        if requirement.name != "recursive-reward-modeling":  # its own extra
            assert "<" in str(requirement.specifier), requirement
            assert requirement.specifier.contains(version(requirement.name), prereleases=True), requirement


def test_nothing_says_to_install_what_a_package_index_calls_rrm() -> None:
    """That is somebody else's program, which deletes files. Ours has another name there, and comes from a clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "recursive-reward-modeling"
    assert project["scripts"] == {"rrm": "rrm.cli:main"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {
        p: (ROOT / p).read_text(encoding="utf-8") for p in listed if p.endswith((".py", ".md", ".toml", "Makefile"))
    }
    asked = re.compile(r"\brrm\[\w|pip install (?:-\S+ )*[\"']?rrm\b|dependencies = \[\"rrm\b")
    assert {path: found for path, text in texts.items() if (found := asked.findall(text))} == {}
