"""`rrm check`: is this plan, or this component, fit to run?"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Sets
from rrm.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rrm.job import Job
    from rrm.records import Arm
    from rrm.roles import Component, Task


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="PLAN|COMPONENT", help="A .toml file, KIND:NAME, or FILE.py:CLASS.")],
    set_: Sets = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="The task that a component is tried on.", show_default="column-sum, or one that suits"
        ),
    ] = None,
) -> None:
    """Check a plan completely, or hold a component to the contract of its role.

    Of a plan every component of every arm is built and asked whether it fits the others; nothing is trained.

    \b
    rrm check configs/glossary.toml
    rrm check task:column-sum            # the kind may be left out where only one has that name
    rrm check my_task.py:MyTask
    rrm check assistant:careless-adder --task column-sum
    """
    if what.endswith(".py"):
        _name_a_class(Path(what))
    elif what.endswith(".toml") or Path(what).exists() or ("/" in what and ":" not in what):
        if task is not None:
            raise PlanError(f"--task {task!r}: a plan names its own tasks; --task is for checking a component")
        _plan(Path(what), set_ or ())
    else:
        _component(what if ":" in what else _with_its_kind(what), set_ or (), task)


def _name_a_class(path: Path) -> None:
    """Raises PlanError: a file of Python is checked class by class. It is not run to find out which it has."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.findall(r"^class (\w+)\(", text, re.MULTILINE) or ["MyTask"]
    raise PlanError(
        f"{path} is Python, not a plan: to check a component of it, name its class: "
        f"{' or '.join(f'rrm check {path}:{name}' for name in found[:5])}"
    )


def _with_its_kind(name: str) -> str:
    """KIND:NAME of a component's name alone. Raises UnknownComponent if none has it, or several have."""
    from rrm.errors import UnknownComponent
    from rrm.graph import suggest
    from rrm.registry import REGISTRIES

    kinds = [r.kind for r in REGISTRIES if name in r.names()]
    if len(kinds) == 1:
        return f"{kinds[0]}:{name}"
    if kinds:
        raise UnknownComponent(f"{name!r} is the name of several: write {' or '.join(f'{k}:{name}' for k in kinds)}")
    if (plan := Path("configs") / f"{name}.toml").is_file():
        raise UnknownComponent(f"no plan and no component is called {name!r}. Did you mean {str(plan)!r}?")
    known = [*(n for r in REGISTRIES for n in r.names()), *(str(p) for p in Path().glob("*.toml"))]
    known = [n for n in known if n != "pyproject.toml"]
    raise UnknownComponent(f"no plan and no component is called {name!r}. {suggest(name, known)}")


def _plan(path: Path, sets: list[str] | tuple[str, ...]) -> None:
    from rrm.conduct import prepare
    from rrm.figures import counted
    from rrm.inert import inert
    from rrm.job import assemble_node, jobs
    from rrm.plan import Study, read_toml
    from rrm.registry import in_file

    study = Study.load(path, sets=sets)
    found = [jobs(study)]
    if "fast" in read_toml(path)[0]:
        found.append(jobs(Study.load(path, sets=sets, fast=True)))
    if study.trial is not None:
        prepare(study)
    wanted, arms = found[0]
    for job in wanted:
        _check_splits(job)
    untold = dict.fromkeys(_untold(assemble_node(job).task) for job in wanted)
    for note in filter(None, untold):
        typer.echo(inert(note, 500), err=True)
    names = list(dict.fromkeys(job.name for job in wanted))
    shared = sum(len(arm.nodes) for arm in arms) - len(wanted)
    typer.echo(
        f"{inert(str(path))}: fine. {_arms(arms)}, {counted(len(names), 'node')} ({inert(', '.join(names), 300)}), "
        f"{len(wanted)} to train, {shared} shared between arms.\n"
        "Every component of every arm can be built, takes its settings, and says that it fits the others; the "
        "questions of one item of each node were held against what its helpers accept, and 20 items of each task's two "
        "splits against each other. Nothing was trained."
    )
    own = sorted({use.use for arm in study.arms for use in arm.plan.uses() if in_file(use.use)})
    for name in own:
        typer.echo(inert(f"To hold it to the contract of its role: rrm check {path.parent / name}"))


def _check_splits(job: Job) -> None:
    """Raises PlanError where the held-out items of a node's task are those of its training."""
    from rrm.assemble import check_apart
    from rrm.job import assemble_node

    task = assemble_node(job).task
    try:
        check_apart(type(task), task.settings.model_dump_json())
    except PlanError as error:
        raise PlanError(f"node.{job.name}.task: {error}") from None


def _untold(task: Task) -> str:
    """What is worth knowing of a task that says no truth: reports of it will have none. Else nothing."""
    from rrm.graph import suggest
    from rrm.roles import Task

    if type(task).truth is not Task.truth or type(task).truths is not Task.truths:
        return ""
    own = [name for kind in type(task).__mro__ if not issubclass(Task, kind) for name in vars(kind)]
    meant = suggest("truth", own)
    slip = f" {meant}" if meant.startswith("Did you mean") else ""
    return f"note: the task {task.name()!r} says no truth(), so that reports will have none.{slip}"


def _arms(arms: Sequence[Arm]) -> str:
    """How many there are, apart from the seeds and settings that each is run at."""
    from rrm.figures import counted

    names, seeds = {arm.name for arm in arms}, {arm.seed for arm in arms}
    settings = len(arms) // (len(names) * len(seeds))  # a plan is the product of the three
    more = [counted(n, what) for n, what in ((len(seeds), "seed"), (settings, "setting")) if n > 1]
    return " × ".join([counted(len(names), "arm"), *more])


def _component(what: str, sets: list[str] | tuple[str, ...], on: str | None) -> None:
    from rrm.errors import ComponentError
    from rrm.faults import blamed
    from rrm.layering import assignment

    settings, broken = dict(assignment(s) for s in sets), ""
    try:
        component = _built(what, settings)
        with blamed(what, getattr(sys.modules[type(component).__module__], "__file__", None)):
            try:
                said = _held_to_contract(component, on)
            except AssertionError as error:
                broken = str(error)
    except ComponentError as error:
        raise ComponentError(f"{error}{_part_of_another(what)}") from error
    if broken:
        raise ComponentError(f"{what}: {broken}")
    typer.echo(f"{what}: {said}")


def _part_of_another(what: str) -> str:
    """The components of other roles in the same file: their helper classes are made by them, and cannot be alone."""
    from rrm.registry import REGISTRIES, Registry
    from rrm.roles import Component

    if ".py:" not in what:
        return ""
    kind = Registry("component", Component, "rrm").get(what)
    own = next((r.base for r in REGISTRIES if issubclass(kind, r.base)), Component)
    here = [v for v in vars(sys.modules[kind.__module__]).values() if isinstance(v, type) and issubclass(v, Component)]
    others = [v.__name__ for v in here if v.__module__ == kind.__module__ and not issubclass(v, own)]
    calls = " or ".join(f"rrm check {what.rpartition(':')[0]}:{name}" for name in others)
    return f". If it is only a part of another component, check that one: {calls}" if others else ""


def _built(what: str, settings: dict[str, object]) -> Component:
    from rrm.errors import UnknownComponent
    from rrm.graph import suggest
    from rrm.registry import REGISTRIES, Registry
    from rrm.roles import Component

    if ".py:" in what:
        kind = Registry("component", Component, "rrm").get(what)
        registry = next((r for r in REGISTRIES if issubclass(kind, r.base)), None)
        if registry is None:
            raise UnknownComponent(f"{what!r} plays no role: it should be a subclass of rrm.Task, rrm.Assistant, …")
        return registry.build(what, settings)  # type: ignore[no-any-return]
    role, _, name = what.partition(":")
    for registry in REGISTRIES:
        if registry.kind == role:
            return registry.build(name, settings)  # type: ignore[no-any-return]
    raise UnknownComponent(f"no kind of component is called {role!r}. {suggest(role, [r.kind for r in REGISTRIES])}")


def _held_to_contract(component: Component, on: str | None) -> str:
    """What was checked. Raises AssertionError saying what to mend."""
    from rrm import testing
    from rrm.roles import Assistant, Evaluator, OversightProtocol, Task

    if isinstance(component, Task):
        if on is not None:
            raise PlanError(f"--task {on!r}: what is checked is itself a task; leave --task out")
        testing.check_task(component)
        if note := _untold(component):
            typer.echo(note, err=True)
        return "keeps the contract of a task"
    if isinstance(component, Assistant):
        task = _task_for(component, on)
        testing.check_assistant(component, task)
        return f"keeps the contract of an assistant, on {task.name()!r}"
    task = _task(on or "column-sum")
    if isinstance(component, OversightProtocol):
        testing.check_protocol(component, task)
        return f"keeps the contract of a protocol, on {task.name()!r}"
    if isinstance(component, Evaluator) and not component.interactive:
        testing.check_evaluator(component, task)
        return f"keeps the contract of an evaluator, on {task.name()!r}"
    return "can be built; its role has no check that runs by itself"


def _task(name: str) -> Task:
    from rrm.registry import TASKS

    return TASKS.build(name)


def _task_for(assistant: object, on: str | None) -> Task:
    """The task that is named, or the first that the assistant can be made ready for."""
    from rrm.errors import RrmError
    from rrm.registry import TASKS
    from rrm.roles import Assistant, Wrapper
    from rrm.seed import Seed

    if on is not None or not isinstance(assistant, Assistant) or isinstance(assistant, Wrapper):
        return _task(on or "column-sum")
    for name in ("column-sum", *TASKS.names()):
        task = _task(name)
        try:
            assistant.prepare(task, seed=Seed(0))
        except RrmError:
            continue
        return task
    return _task("column-sum")
