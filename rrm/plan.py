"""A study, as a config file says it: which tasks, who helps whom, who plays which role, and which arms are compared."""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from rrm.asking import Fresh
from rrm.errors import GraphError, PlanError, SettingsError, UnknownComponent
from rrm.graph import TaskGraph, suggest
from rrm.records import Record
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REWARD_TERMS,
    REWARD_TRAINERS,
    SELECTIONS,
    TASKS,
    Registry,
    in_file,
    in_words,
    located,
    placed,
    there,
)
from rrm.roles import Component

C = TypeVar("C", bound=Component)
Raw = dict[str, Any]


class Use(Record):
    """A component by name, with its settings beside it: `{ use = "column-sum", length = 16 }`, or its name alone."""

    model_config = ConfigDict(extra="allow")
    use: str
    _folder: str = PrivateAttr("")
    """What the path of a component's file is relative to: see `Plan.folder`."""

    @model_validator(mode="before")
    @classmethod
    def _its_name_will_do(cls, value: object) -> object:
        return {"use": value} if isinstance(value, str) else value

    def kind(self, registry: Registry[C]) -> type[C]:
        """The component's class. Raises UnknownComponent if there is none."""
        return registry.get(placed(self.use, self._folder))

    def build(self, registry: Registry[C], where: str) -> C:
        """The component. Raises PlanError that says where in the plan the fault is."""
        try:
            return registry.build(placed(self.use, self._folder), dict(self.model_extra or {}), self._folder)
        except (UnknownComponent, SettingsError) as error:
            raise type(error)(f"{where}: {error}") from None


class Term(Use):
    """A part of the reward that is given, not learnt."""

    weight: float = 1.0
    shaping: bool = False
    """A potential that only guides: it fades to nothing by a level's last round, so it cannot change what is best."""


class Cast(Record):
    """Who plays which role."""

    assistant: Use = Field(default_factory=lambda: Use(use="answer-book"))
    wrapped_in: tuple[Use, ...] = ()
    """Wrappers around the assistant, innermost first."""
    protocol: Use = Field(default_factory=lambda: Use(use="recursive"))
    evaluator: Use = Field(default_factory=lambda: Use(use="simulated"))
    selection: Use = Field(default_factory=lambda: Use(use="random"))
    reward: Use = Field(default_factory=lambda: Use(use="bradley-terry"))
    policy: Use = Field(default_factory=lambda: Use(use="regression"))
    terms: tuple[Term, ...] = ()


class Effort(Record):
    """How much is asked of the evaluator."""

    rounds: int = Field(default=1, ge=1)
    cases: int = Field(default=32, ge=0)
    """Cases judged in a round; 0: nobody is asked, which is refused for rewards that learn from judgements."""
    first_cases: int | None = Field(default=None, ge=0)
    """Cases judged in the first round, where that is another number."""
    candidates: int = Field(default=2, ge=1)
    """Answers shown in a case: two are compared; of more, the best is marked (which counts as candidates - 1)."""
    fresh: Fresh = "case"
    """How long a sampled helper's answer is shared."""
    exam: int = Field(default=1000, ge=0)
    """Held-out items that the agent answers after each round, for reports."""

    @property
    def asks(self) -> bool:
        """Whether anybody is asked in any round."""
        return any(self.cases_in(round) for round in range(min(self.rounds, 2)))

    def cases_in(self, round: int) -> int:
        """Cases judged in that round, counted from 0."""
        return self.first_cases if round == 0 and self.first_cases is not None else self.cases


class Gate(Record):
    """What an agent must show before it may help others. It asks the user, never the truth."""

    on_fail: Literal["warn", "stop", "off"] = "warn"
    items: int = Field(default=100, ge=1)
    """Held-out items on which the user judges the agent's answer beside others."""
    agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of items on which the user must find the agent's answer the best."""
    recall: float = Field(default=0.5, ge=0, le=1)
    """Share of the uncommon answers that the agent must find."""
    extra_rounds: int = Field(default=0, ge=0)
    """Rounds that may be added until it passes."""

    @model_validator(mode="before")
    @classmethod
    def _one_word_will_do(cls, value: object) -> object:
        return {"on_fail": value} if isinstance(value, str) else value


class Spot(Record):
    """Random checks of what helpers say while a node is trained. They ask the helper's own user, never the truth."""

    on_fail: Literal["warn", "stop", "off"] = "warn"
    items: int = Field(default=0, ge=0)
    """Answers of each helper that are checked in a round; 0: none."""
    agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of the answers than which its user should find no other better."""
    recall: float = Field(default=0.75, ge=0, le=1)
    """Share of the uncommon answers that it should find."""

    @property
    def on(self) -> bool:
        return self.items > 0 and self.on_fail != "off"

    @model_validator(mode="before")
    @classmethod
    def _one_word_will_do(cls, value: object) -> object:
        return {"on_fail": value} if isinstance(value, str) else value


class HelpedBy(Record):
    """The node that serves a subtask, and what stands between."""

    node: str
    wrapped_in: tuple[Use, ...] = ()
    """Wrappers around the helper on this edge alone, innermost first: for studies of helper errors."""


class NodePlan(Record):
    """One node of the task graph."""

    task: Use
    helped_by: dict[str, HelpedBy] = Field(default_factory=dict)
    """Subtask to the node whose agent serves it. Leave one out to study its absence."""
    start: str | None = None
    """The node whose weights (agent and reward model) training starts from."""
    cast: Cast = Field(default_factory=Cast)
    effort: Effort = Effort()
    gate: Gate = Gate()
    spot: Spot = Spot()

    @field_validator("helped_by", mode="before")
    @classmethod
    def _names_will_do(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {k: {"node": v} if isinstance(v, str) else v for k, v in value.items()}
        return value


class Plan(Record):
    """One arm at one setting of what varies: every node with its full cast."""

    seed: int = 0
    node: dict[str, NodePlan] = Field(min_length=1)
    folder: str = ""
    """Where the plan's file stood, if it names any file: relative paths are relative to it. Never written."""

    @model_validator(mode="after")
    def _its_parts_know_the_folder(self) -> Self:
        for use in self.uses():
            use._folder = self.folder
        return self

    def users(self, name: str) -> list[Use]:
        """Who is asked while a node is trained: its evaluator, and those of helpers whose answers it checks."""
        node = self.node[name]
        checked = [h.node for h in node.helped_by.values()] if node.spot.on else []
        return [node.cast.evaluator, *(self.node[h].cast.evaluator for h in dict.fromkeys(checked))]

    def uses(self) -> Iterator[Use]:
        """Every component that it names."""
        for node in self.node.values():
            cast = node.cast
            yield from (node.task, cast.assistant, *cast.wrapped_in, cast.protocol, cast.evaluator, cast.selection)
            yield from (
                cast.reward,
                cast.policy,
                *cast.terms,
                *(w for h in node.helped_by.values() for w in h.wrapped_in),
            )

    def files(self) -> set[str]:
        """The components that it names by file, each with the file's full path."""
        return {located(use.use, self.folder) for use in self.uses() if in_file(use.use)}

    @classmethod
    def from_raw(cls, raw: Raw, where: str) -> Self:
        """From a table whose nodes are whole. Raises PlanError with the place of the fault."""
        try:
            plan = cls.model_validate(raw)
        except ValidationError as error:
            raise PlanError(f"{where}: {_readable(error)}") from None
        for name, node in plan.node.items():
            if node.start is not None and node.start not in plan.node:
                raise GraphError(
                    f"{where}: node.{name}.start: no node is called {node.start!r}. {suggest(node.start, plan.node)}"
                )
        return plan

    def graph(self) -> TaskGraph:
        """The task graph, its tasks built and checked. Raises PlanError that says where the fault is."""
        tasks = {name: node.task.build(TASKS, f"node.{name}.task") for name, node in self.node.items()}
        return TaskGraph(tasks, {n: {s: h.node for s, h in p.helped_by.items()} for n, p in self.node.items()})


@dataclass(frozen=True)
class ArmPlan:
    """An arm's name, what is varied in it, and its whole plan."""

    name: str
    varied: Mapping[str, Any]
    plan: Plan


@dataclass(frozen=True)
class Study:
    """All arms of a config file."""

    title: str
    arms: Sequence[ArmPlan]

    @classmethod
    def load(cls, path: Path, *, fast: bool = False, sets: Sequence[str] = (), arms: Sequence[str] = ()) -> Self:
        """Read a plan. `sets` are changes like "effort.cases=100"; `arms`, if any, are the only ones kept.

        Raises PlanError with the place of the fault and what to write instead.
        """
        raw, title = read_toml(path)
        if fast and "fast" not in raw:
            raise PlanError(
                f"{path}: there is no [fast] table, so --fast would change nothing: write one, or leave it out"
            )
        small = [_table(raw, "fast", path)] if fast else []
        said = [_at(*assignment(change)) for change in sets]
        every = [*small, *said]
        vary: Raw = {}
        for table in [raw, *every]:
            vary = {k: v for k, v in vary.items() if k not in dict(_leaves(table))}
            vary |= dict(_leaves(_table(table, "vary", path)))
        changes = _table(raw, "arm", path) or {"run": {}}
        for name in arms:
            if name not in changes:
                raise PlanError(f"{path}: no arm is called {name!r}. {suggest(name, changes)}")
        base = spread({k: v for k, v in raw.items() if k not in ("arm", "vary", "fast")}, str(path))
        laid = {name: lay(base, _table(changes, name, f"{path}: arm"), f"{path}: arm.{name}") for name in changes}
        whole = {"": base, **laid}  # of every arm, for what [fast] and [vary] change is meant for some of them
        laid = {name: laid[name] for name in arms or laid}
        for number, table in enumerate(every):
            change = {k: v for k, v in table.items() if k != "vary"}
            where, known = (str(path), whole) if number < len(small) else ("--set", laid)
            taken = _Taken(known.values(), path.parent)
            whole, laid = (
                {name: lay(arm, change, where, taken) for name, arm in some.items()} for some in (whole, laid)
            )
        taken, found = _Taken(whole.values(), path.parent), []
        for name, arm in laid.items():
            for values in itertools.product(*(_several(v, f"{path}: vary.{k}") for k, v in vary.items())):
                varied, one = dict(zip(vary, values, strict=True)), arm
                for key, value in varied.items():
                    one = lay(one, _at(key, value), f"{path}: vary", taken)
                varied.pop("seed", None)
                found.append(
                    ArmPlan(
                        name,
                        varied,
                        Plan.from_raw(_at_home({k: v for k, v in one.items() if k != "family"}, path), str(path)),
                    )
                )
        return cls(title, found)


def read_toml(path: Path) -> tuple[Raw, str]:
    """A config file's table, and its first comment line as a title."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        near = [str(p) for p in sorted(path.parent.glob("*.toml")) if p.name != "pyproject.toml"]
        raise PlanError(f"there is no plan {str(path)!r}. {suggest(str(path), near)}") from None
    except IsADirectoryError:
        raise PlanError(f"{str(path)!r} is a folder; name a .toml file in it") from None
    except UnicodeDecodeError:
        raise PlanError(
            f"{str(path)!r} cannot be read: a plan is a text file, TOML in UTF-8, and this is not"
        ) from None
    except OSError as error:
        raise PlanError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path} is not valid TOML: {error}") from None
    first = text.lstrip().split("\n", 1)[0]
    return raw, first.lstrip("# ").strip() if first.startswith("#") else path.stem


def _at_home(raw: Raw, path: Path) -> Raw:
    """A plan that knows its folder, if it names any file: whoever reads it later, anywhere, finds the same.

    A file is looked for beside the plan, and then where `rrm` is called.
    """
    if "folder" in raw:
        raise PlanError(f"{path}: folder: there is no such key here; files are found relative to the plan")
    folder, relative = path.absolute().parent.resolve(), False

    def near(file: str) -> str:
        nonlocal relative
        relative |= not Path(file).is_absolute()
        if Path(file).is_absolute() or there(str(folder), file) or not there("", file):
            return file
        return os.path.relpath(Path(file).resolve(), folder)

    def homed(value: object, key: str = "") -> object:
        if isinstance(value, str) and in_file(value):
            file, _, name = value.rpartition(":")
            return f"{near(file)}:{name}"
        if isinstance(value, list):
            return [homed(v, key) for v in value]
        if isinstance(value, dict) and "use" in value:
            paths = _paths(key, value, str(folder))
            return {k: near(v) if k in paths else homed(v) if k == "use" else v for k, v in value.items()}
        if isinstance(value, dict):
            return {k: homed(v, k) for k, v in value.items()}
        return value

    nodes = homed(raw["node"])
    return {**raw, "node": nodes, "folder": str(folder)} if relative else raw


def _paths(key: str, table: Raw, folder: str) -> set[str]:
    """The settings of a component, in a table under that key, that are paths at which there is something."""
    given = {k for k, v in table.items() if k != "use" and isinstance(v, str) and v}
    given = {k for k in given if there(folder, table[k]) or there("", table[k])}
    registry = {**ROLES, "task": TASKS, "wrapped_in": ASSISTANTS, "terms": REWARD_TERMS}.get(key)
    if registry is None or not given or not isinstance(table["use"], str):
        return set()
    try:
        return given & set(registry.get(placed(table["use"], folder)).paths)
    except PlanError:  # told when it is built
        return set()


ROLES: Mapping[str, Registry[Any]] = {
    "assistant": ASSISTANTS,
    "protocol": PROTOCOLS,
    "evaluator": EVALUATORS,
    "selection": SELECTIONS,
    "reward": REWARD_TRAINERS,
    "policy": POLICY_TRAINERS,
}
"""Keys of a cast that name one component."""

SHARED = ("cast", "effort", "gate", "spot")
"""Tables that may stand above the nodes, as defaults in a plan or a family, and as changes in an arm."""


def spread(raw: Raw, where: str) -> Raw:
    """A plan whose every node is whole: the plan's own defaults, then its family's, then what it says itself."""
    families, nodes = raw.get("family", {}), raw.get("node", {})
    if not isinstance(nodes, dict) or not nodes:
        raise PlanError(f"{where}: a plan needs at least one [node.NAME] with a task")
    shared = _worded({k: raw[k] for k in SHARED if k in raw})
    whole = {}
    for name, table in nodes.items():
        if not isinstance(table, dict):
            raise PlanError(f"{where}: node.{name} should be a table with a task, not {table!r}")
        family = table.get("family")
        if family is not None and (not isinstance(families, dict) or not isinstance(families.get(family), dict)):
            known = families if isinstance(families, dict) else {}
            raise PlanError(
                f"{where}: node.{name}.family: there is no [family.{family}]. {suggest(str(family), known)}"
            )
        inherited = merge(shared, _worded(families[family])) if family is not None else shared
        whole[name] = merge(inherited, _worded({k: v for k, v in table.items() if k != "family"}))
    for family in families if isinstance(families, dict) else ():
        if family not in {table.get("family") for table in nodes.values()}:
            raise PlanError(
                f"{where}: family.{family}: no node is of this family: write family = {family!r} in one, or drop it"
            )
    of = {name: table["family"] for name, table in nodes.items() if "family" in table}
    rest = {k: v for k, v in raw.items() if k not in (*SHARED, "family")}
    return {**rest, "node": whole, **({"family": of} if of else {})}


def lay(whole: Raw, change: Raw, where: str = "", taken: _Taken | None = None) -> Raw:
    """A change laid over a spread plan: its `cast`, `effort`, `gate` and `spot` over every node's own, a family's over
    those of its nodes.

    Raises PlanError for a change of a node that there is not; one with a task is a node more. With `taken`, a setting
    that a node's component does not have is left out there, if another component in its place has it.
    """
    over = _worded({k: v for k, v in change.items() if k in SHARED})
    nodes = {name: merge(table, taken.fitting(over, table) if taken else over) for name, table in whole["node"].items()}
    for name, table in _of_families(change, whole.get("family", {}), where).items():
        nodes[name] = merge(nodes[name], taken.fitting(table, nodes[name]) if taken else table)
    own = change.get("node", {})
    for name, table in own.items() if isinstance(own, dict) else ():
        if name not in nodes and isinstance(table, dict) and "task" not in table:
            raise PlanError(f"{where}: node.{name}: no node is called {name!r}. {suggest(name, nodes)}")
    rest = {k: v for k, v in change.items() if k not in (*SHARED, "family")}
    if isinstance(own, dict) and own:
        rest["node"] = {name: _worded(table) if isinstance(table, dict) else table for name, table in own.items()}
        for name in rest["node"].keys() & nodes.keys():
            rest["node"][name] = taken.fitting(rest["node"][name], nodes[name]) if taken else rest["node"][name]
    return merge({**whole, "node": nodes}, rest)


def _of_families(change: Raw, of: Mapping[str, str], where: str) -> dict[str, Raw]:
    """By node, what a change says of its family. Raises PlanError for a family that there is not."""
    said = _table(change, "family", where)
    for family in said:
        if family not in of.values():
            known = list(dict.fromkeys(of.values()))
            raise PlanError(f"{where}: family.{family}: no node is of such a family. {suggest(family, known)}")
    return {name: _worded(_table(said, family, f"{where}: family")) for name, family in of.items() if family in said}


class _Taken:
    """Which settings the components of a role take, where arms cast several of them."""

    def __init__(self, plans: Iterable[Raw], folder: Path) -> None:
        self._folder = str(folder.absolute())
        self._uses: dict[str, set[str]] = {role: set() for role in ROLES}
        for plan in plans:
            for table in plan["node"].values():
                for role in ROLES:
                    self._uses[role] |= {use} if (use := _use(table, role)) else set()

    def fitting(self, change: object, table: Raw) -> Any:
        """The change, less the settings that are meant for another component than the table's."""
        if not isinstance(change, dict) or not isinstance(change.get("cast"), dict):
            return change
        cast_ = dict(change["cast"])
        for role in ROLES & cast_.keys():
            mine, uses = _use(table, role), self._uses[role]
            if not mine or len(uses) < 2 or not isinstance(cast_[role], dict) or "use" in cast_[role]:
                continue
            others = {s for use in uses for s in self._settings(role, use)}
            strange = others - self._settings(role, mine)
            cast_[role] = {k: v for k, v in cast_[role].items() if k not in strange}
        return {**change, "cast": cast_}

    def _settings(self, role: str, use: str) -> set[str]:
        try:
            return set(Use(use=placed(use, self._folder)).kind(ROLES[role]).Settings.model_fields)
        except PlanError:  # told when it is built
            return set()


def _use(table: Raw, role: str) -> str:
    """The component that a node's table casts, "" where it does not say."""
    for key in ("cast", role, "use"):
        table = table.get(key, "") if isinstance(table, dict) else ""
    return table if isinstance(table, str) else ""


def _worded(table: Raw) -> Raw:
    """`gate = "stop"`, `protocol = "unassisted"` and `task = "column-sum"` written out, so that they can be merged."""
    found, cast_ = dict(table), table.get("cast")
    found |= {key: {"on_fail": table[key]} for key in ("gate", "spot") if isinstance(table.get(key), str)}
    if isinstance(table.get("task"), str):
        found["task"] = {"use": table["task"]}
    if isinstance(cast_, dict):
        found["cast"] = {role: {"use": use} if isinstance(use, str) else use for role, use in cast_.items()}
    return found


def merge(under: Raw, over: Raw) -> Raw:
    """`under` with the entries of `over` laid upon it. A component of another name replaces the old one whole."""
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and value.get("use", old.get("use")) == old.get("use"):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def put(table: Raw, key: str, value: object) -> None:
    """Set a dotted key, copying the tables on the way so that nobody else's are changed."""
    head, _, rest = key.partition(".")
    if not rest:
        table[head] = value
        return
    below = table.get(head)
    table[head] = dict(below) if isinstance(below, dict) else {}
    put(table[head], rest, value)


def assignment(change: str) -> tuple[str, object]:
    """The key and the value of `key=value`; the value is TOML, or else a word. Raises PlanError if it is neither."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise PlanError(f"--set {change!r}: write it as key=value, for example --set effort.cases=100")
    key, (head, _, rest) = key.strip(), key.strip().partition(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if head == "arm":
        name, _, rest = rest.partition(".")
        instead = f"--arm {name or 'NAME'} --set {rest or 'KEY'}={text.strip()}"
        raise PlanError(f"--set {change!r}: --set changes every arm that is run; for one alone, write {instead}")
    if head == "fast":
        raise PlanError(f"--set {change!r}: --set is laid over [fast] too: write --set {rest or 'KEY'}={text.strip()}")
    if isinstance(value, list) and head in ("seed", "effort", "gate", "spot"):
        raise PlanError(f"--set {change!r}: to run at several values, write --set 'vary.{key}={text.strip()}'")
    return key, value


def _at(key: str, value: object) -> Raw:
    """The table in which there is only this."""
    laid: Raw = {}
    put(laid, key, value)
    return laid


def _table(raw: Raw, key: str, path: object) -> Raw:
    value = raw.get(key, {})
    if not isinstance(value, dict):
        raise PlanError(f"{path}: {key} should be a table, not {value!r}")
    return cast(Raw, value)


def _leaves(table: Raw, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _several(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list) or not value:
        raise PlanError(f"{where}: what varies is a list of values, like [0, 1, 2], not {value!r}")
    return value


def _readable(error: ValidationError) -> str:
    """All faults in a line; one that several nodes share is told once."""
    faults: dict[tuple[str, str], list[str]] = {}
    for fault in error.errors(include_url=False):
        if fault["type"] == "extra_forbidden":
            text = f"there is no such key here. {_known_keys(fault['loc'])}"
        elif fault["type"] == "missing":
            text = "this is needed and missing"
        else:
            text = in_words(fault)
        place = [str(p) for p in fault["loc"]]
        of_node = place[0] == "node" and len(place) > 2
        nodes = faults.setdefault((".".join(place[2:] if of_node else place), text), [])
        nodes += place[1:2] if of_node else []
    return "; ".join(f"{_where(place, nodes)}: {text}" for (place, text), nodes in faults.items())


def _where(place: str, nodes: Sequence[str]) -> str:
    if len(nodes) < 2:
        return f"node.{nodes[0]}.{place}" if nodes else place
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return f"{place} (of the nodes {', '.join(nodes[:3])}{more})"


def _known_keys(place: tuple[int | str, ...]) -> str:
    """The keys that could stand where an unknown one was found."""
    model: Any = Plan
    for step in place[:-1]:
        if model is Plan and step == "node":
            model = {"*": NodePlan}
        elif isinstance(model, dict):
            model = model["*"]
        else:
            tables = {"cast": Cast, "effort": Effort, "gate": Gate, "spot": Spot, "helped_by": {"*": HelpedBy}}
            kind = tables.get(str(step))
            if kind is None:
                return ""
            model = kind
    known = (
        ["seed", "cast", "effort", "gate", "spot", "node", "family", "arm", "vary", "fast"]
        if model is Plan
        else list(model.model_fields)
    )
    return suggest(str(place[-1]), known)
