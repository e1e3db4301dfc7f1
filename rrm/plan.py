"""A study, as a config file says it: which tasks, who helps whom, who plays which role, and which arms are compared."""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from rrm.asking import Fresh
from rrm.errors import GraphError, PlanError, SettingsError, UnknownComponent
from rrm.faults import misread, readable, written
from rrm.graph import TaskGraph, suggest
from rrm.layering import (
    ROLES,
    Layers,
    Raw,
    Taken,
    assignment,
    lay,
    leaves,
    merge,
    only,
    several,
    spread,
    still_off,
    table_in,
    written_at,
)
from rrm.records import Record
from rrm.registry import ASSISTANTS, EVALUATORS, REWARD_TERMS, TASKS, Registry, in_file, located, placed, there
from rrm.roles import Asker, Component
from rrm.trial.record import TrialAsked

C = TypeVar("C", bound=Component)

IN_A_FILE = ("cast", "effort", "gate", "spot", "family", "arm", "vary", "fast", "trial")
"""Keys that may stand on top of a plan's file: all but the last are laid over its nodes before it is a plan."""

APART = ("arm", "vary", "fast", "trial")
"""Those of them that are no part of any node."""

MAY_VARY = ("seed", "node", "cast", "effort", "gate", "spot", "family")
"""Keys in which arms may be run at several values."""

MOST = 10_000_000
"""What any size may be: more is a slip of the pen, and would fill the disk before it is noticed."""


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
            built = registry.build(placed(self.use, self._folder), dict(self.model_extra or {}), self._folder)
        except (UnknownComponent, SettingsError) as error:
            told = type(error)(f"{where}: {error}")
            told.place, told.keys = where, error.keys or ("use",)
            raise told from None
        if isinstance(built, Asker) and self.user is not None:
            inner: Any = self.user.build(registry, f"{where}.user")
            return built.around(inner)
        return built

    @property
    def user(self) -> Use | None:
        """Whoever is asked, where it is an evaluator that stands before another."""
        named = (self.model_extra or {}).get("user")
        if not isinstance(named, str | dict) or (isinstance(named, dict) and "use" not in named):
            return None
        found = Use.model_validate(named)
        found._folder = self._folder
        return found

    @property
    def judge(self) -> Use:
        """Whoever judges in the end."""
        return self if self.user is None else self.user.judge


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

    rounds: int = Field(default=1, ge=1, le=MOST)
    cases: int = Field(default=32, ge=0, le=MOST)
    """Cases judged in a round; 0: nobody is asked, which is refused for rewards that learn from judgements, unless some
    are judged elsewhere."""
    first_cases: int | None = Field(default=None, ge=0, le=MOST)
    """Cases judged in the first round, where that is another number."""
    frozen_after: int | None = Field(default=None, ge=1, le=MOST)
    """Rounds in which the evaluator is asked, where that is fewer: after them the reward model stays as it is, and the
    agent goes on learning from it."""
    seconds: float | None = Field(default=None, gt=0, le=MOST)
    """Of the evaluator's time for all rounds; then it ends what is asked, and `cases` say only how it is spread over
    the rounds. For an evaluator that chooses what it asks (`adaptive`)."""
    candidates: int = Field(default=2, ge=1, le=MOST)
    """Answers shown in a case: two are compared; of more, the best is marked (which counts as candidates - 1)."""
    fresh: Fresh = "case"
    """How long a sampled helper's answer is shared."""
    exam: int = Field(default=1000, ge=0, le=MOST)
    """Held-out items that the agent answers after each round, for reports."""
    curve: int | None = Field(default=None, ge=0, le=MOST)
    """After the rounds before the last, so many of them, where that is fewer: enough for a curve."""

    def examined(self, *, last: bool) -> int:
        """Held-out items that are answered after the last round, or one before it."""
        return self.exam if last or self.curve is None else min(self.exam, self.curve)

    @property
    def asks(self) -> bool:
        """Whether anybody is asked in any round."""
        return any(self.cases_in(round) for round in range(min(self.rounds, 2)))

    def cases_in(self, round: int) -> int:
        """Cases judged in that round, counted from 0."""
        if self.frozen_after is not None and round >= self.frozen_after:
            return 0
        return self.first_cases if round == 0 and self.first_cases is not None else self.cases

    def seconds_until(self, round: int) -> float:
        """Seconds that may be spent up to and with that round, counted from 0."""
        each = [self.cases_in(number) for number in range(self.rounds)]
        return (self.seconds or 0.0) * (sum(each[: round + 1]) / sum(each) if sum(each) else 0.0)


class Gate(Record):
    """What an agent must show before it may help others. It asks the user, never the truth."""

    on_fail: Literal["warn", "stop", "off"] = "warn"
    items: int = Field(default=100, ge=1, le=MOST)
    """Held-out items on which the user judges the agent's answer beside others."""
    agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of items on which the user must agree with the agent's answer (`rrm.gate.AGREES`)."""
    recall: float = Field(default=0.5, ge=0, le=1)
    """Share of the uncommon answers that the agent must find."""
    extra_rounds: int = Field(default=0, ge=0, le=MOST)
    """Rounds that may be added until it passes."""

    @model_validator(mode="before")
    @classmethod
    def _one_word_will_do(cls, value: object) -> object:
        return {"on_fail": value} if isinstance(value, str) else value


class Spot(Record):
    """Random checks of what helpers say while a node is trained. They ask the helper's own user, never the truth."""

    on_fail: Literal["warn", "stop", "off"] = "warn"
    items: int = Field(default=0, ge=0, le=MOST)
    """Answers of each helper that are checked in a round; 0: none."""
    agreement: float = Field(default=0.9, ge=0, le=1)
    """Share of the answers with which its user should agree, as at a gate."""
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


class TrialArm(Record):
    """One kind of help that a trial compares."""

    name: str = Field(min_length=1)
    protocol: Use | None = None
    """How help is gathered; none: as the node's cast has it."""
    wrapped_in: tuple[Use, ...] = ()
    """Wrappers around every helper, innermost first: misleading help is help by helpers that err."""

    @model_validator(mode="before")
    @classmethod
    def _its_name_will_do(cls, value: object) -> object:
        """Three names are known; any other is a protocol's."""
        if not isinstance(value, str):
            return value
        wrong = ({"use": "corrupted", "rate": 1.0, "kind": "adversarial"},)
        known = {"assisted": {}, "misleading": {"wrapped_in": wrong}}
        return {"name": value, **known.get(value, {"protocol": value})}


class Expected(Record):
    """What is expected of people, for the size of a trial: all are shares, so that 0.12 is 12 points."""

    uplift: float = Field(default=0.12, gt=-1, lt=1)
    """How much oftener they are right with help."""
    baseline: float = Field(default=0.65, ge=0.01, le=0.99)
    """How often they are right alone."""
    rater_sd: float = Field(default=0.06, ge=0, lt=0.5)
    """How far people differ in that: a standard deviation."""
    case_sd: float = Field(default=0.15, ge=0, lt=0.5)
    """How far cases differ."""
    uplift_rater_sd: float = Field(default=0.05, ge=0, lt=1)
    """How far people differ in what help gives them."""
    uplift_case_sd: float = Field(default=0.1, ge=0, lt=1)
    """How far cases do."""

    @model_validator(mode="after")
    def _room_for_it(self) -> Self:
        if not 0.01 <= self.baseline + self.uplift <= 0.99:
            raise ValueError(
                f"baseline and uplift together are {self.baseline + self.uplift:.2f}: at most .99 are right"
            )
        return self


class Trial(Record):
    """A randomised trial of help: the same cases are judged with and without it, each by people drawn for it."""

    node: str = ""
    """Whose published agent's answers are judged; empty: the node of the highest level."""
    arm: str = ""
    """The arm of the study whose agents answer and help, at the first of what varies; empty: the first."""
    arms: tuple[TrialArm, ...] = Field(
        default_factory=lambda: tuple(map(TrialArm.model_validate, ("unassisted", "assisted"))), min_length=2
    )
    """What is compared: the first is what the others are held against."""
    raters: int = Field(default=8, ge=1, le=MOST)
    cases: int = Field(default=40, ge=1, le=MOST)
    """Cases that each rater judges, none twice."""
    of: int | None = Field(default=None, ge=2, le=MOST)
    """Different cases in all, at least as many; left out: as many."""
    seconds: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Budgets of time for a judgement: each arm is tried with each. None: people take the time that they want."""
    people: tuple[Use, ...] = ()
    """Who the raters are, in turn; empty: all are the node's evaluator."""
    seed: int = 0
    """Who judges what in which arm."""
    expect: Expected = Expected()

    @model_validator(mode="after")
    def _it_can_be_drawn(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or len(set(self.seconds)) < len(self.seconds):
            raise ValueError(f"two arms, or two budgets of time, are alike: {names} {list(self.seconds)}")
        if self.of is not None and self.of < self.cases:
            raise ValueError(
                f"nobody can judge {self.cases} of {self.of} cases without judging one twice: raise `of`, or lower "
                "`cases`"
            )
        return self

    def asked(self) -> TrialAsked:
        """As the record keeps it."""
        named = any(in_file(use.use) for use in self.uses())
        return TrialAsked(plan=self.model_dump(mode="json"), folder=next(self.uses())._folder if named else "")

    @classmethod
    def recorded(cls, asked: TrialAsked) -> Self | None:
        """The trial that a record asks for, if any. Raises PlanError if this rrm cannot read it."""
        if asked.plan is None:
            return None
        try:
            found = cls.model_validate(asked.plan)
        except ValidationError as error:
            raise PlanError(f"the recorded trial cannot be read: {readable(error, cls, ())}") from None
        for use in found.uses():
            use._folder = asked.folder
        return found

    @property
    def cells(self) -> list[tuple[TrialArm, float | None]]:
        """Every arm with every budget of time: what judgements are assigned to."""
        return [(arm, seconds) for seconds in self.seconds or (None,) for arm in self.arms]

    def uses(self) -> Iterator[Use]:
        """Every component that it names."""
        yield from self.people
        for arm in self.arms:
            yield from ((arm.protocol,) if arm.protocol else ())
            yield from arm.wrapped_in


class NodePlan(Record):
    """One node of the task graph."""

    task: Use
    helped_by: dict[str, HelpedBy] = Field(default_factory=dict)
    """Subtask to the node whose agent serves it. Leave one out to study its absence."""
    start: str | None = None
    """The node whose weights (agent and reward model) training starts from."""
    judged: tuple[str, ...] = ()
    """Files of what was judged elsewhere, which it learns from before it asks anybody."""
    cast: Cast = Field(default_factory=Cast)
    effort: Effort = Effort()
    gate: Gate = Gate()
    spot: Spot = Spot()

    @field_validator("judged", mode="before")
    @classmethod
    def _one_will_do(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

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
        return [node.cast.evaluator.judge, *(self.node[h].cast.evaluator.judge for h in dict.fromkeys(checked))]

    def uses(self) -> Iterator[Use]:
        """Every component that it names."""
        for node in self.node.values():
            cast = node.cast
            yield from (cast.evaluator.judge,) if cast.evaluator.user else ()
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
            raise PlanError(f"{where}: {readable(error, cls, IN_A_FILE)}") from None
        for place, value in misread(raw, plan):
            raise PlanError(f"{where}: {place}: this should be a number (got {written(value)})")
        for name, node in plan.node.items():
            if not name or "/" in name:  # which names cases: node/round/number
                raise PlanError(f"{where}: node.{name!r}: a node's name has at least one character, and no slash")
            if node.start == name:
                raise GraphError(f"{where}: node.{name}.start: a node cannot start from itself; leave start out")
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
    base: Mapping[str, Any] = field(default_factory=dict)
    """The nodes of the plan as they are without what the arm changes in them, and without what varies."""


@dataclass(frozen=True)
class Study:
    """All arms of a config file."""

    title: str
    arms: Sequence[ArmPlan]
    fast: bool = False
    """At the small size of [fast], at which nothing is found out."""
    partly: bool = False
    """Some of the plan's nodes were left out."""
    trial: Trial | None = None
    """A trial of help, once the nodes are trained."""
    file: str = ""
    """Where it was read, empty if nowhere."""
    layers: Mapping[str, Layers] = field(default_factory=dict)
    """By arm, the tables that its plan was laid of."""
    left_out: str = ""
    """Why the plan's trial is not here, where it has one: then what is recorded of it stands."""

    def told(self, arm: ArmPlan, error: PlanError) -> PlanError:
        """A fault of an arm's plan with the file, and the place where it is written, if that can be known."""
        text, file = str(error), f"{self.file}: " if self.file else ""
        if error.place and text.startswith(error.place):
            node = max((n for n in arm.plan.node if error.place.startswith(f"node.{n}.")), key=len, default="")
            rest = error.place.removeprefix(f"node.{node}.")
            layers = (*self.layers.get(arm.name, ()), *(("vary.", only(k, v)) for k, v in arm.varied.items()))
            for key in error.keys:
                if written_ := written_at(layers, node, (*rest.split("."), key)):
                    return type(error)(f"{file}{written_}{text.removeprefix(error.place)}")
        names = list(dict.fromkeys(a.name for a in self.arms))
        of = f"arm.{arm.name}: " if names.index(arm.name) else ""  # the first could be built
        return type(error)(f"{file}{of}{text}")

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
        small = [table_in(raw, "fast", path)] if fast else []
        said = [only(*assignment(change)) for change in sets]
        every = [*small, *said]
        vary: Raw = {}
        for table in [raw, *every]:
            vary = {k: v for k, v in vary.items() if k not in dict(leaves(table))}
            vary |= dict(leaves(table_in(table, "vary", path)))
        for key in vary:
            if (head := key.partition(".")[0]) not in MAY_VARY:
                raise PlanError(f"{path}: vary.{key}: there is no such key here. {suggest(head, [*MAY_VARY])}")
        changes = table_in(raw, "arm", path) or {"run": {}}
        for name in arms:
            if name not in changes:
                raise PlanError(f"{path}: no arm is called {name!r}. {suggest(name, changes)}")
        base = spread({k: v for k, v in raw.items() if k not in APART}, str(path))
        laid = {name: lay(base, table_in(changes, name, f"{path}: arm"), f"{path}: arm.{name}") for name in changes}
        whole = {"": base, **laid}  # of every arm, for what [fast] and [vary] change is meant for some of them
        laid = {name: laid[name] for name in arms or laid}
        for number, table in enumerate(every):
            change = {k: v for k, v in table.items() if k not in ("vary", "trial")}
            where, known = (str(path), whole) if number < len(small) else ("--set", laid)
            taken = Taken(known.values(), path.parent)
            off = still_off if number < len(small) else _as_said
            whole, laid = (
                {name: off(arm, lay(arm, change, where, taken)) for name, arm in some.items()} for some in (whole, laid)
            )
        taken, found = Taken(whole.values(), path.parent), []
        unchanged = _base(whole[""], path)
        for name, arm in laid.items():
            for values in itertools.product(*(several(v, f"{path}: vary.{k}") for k, v in vary.items())):
                varied, one = dict(zip(vary, values, strict=True)), arm
                for key, value in varied.items():
                    one = lay(one, only(key, value), f"{path}: vary", taken)
                varied.pop("seed", None)
                try:
                    plan = _checked(one, path, str(path))
                except PlanError:  # told where it is said: in [vary], in the arm, or for all
                    _checked(whole[""], path, str(path))
                    plan = _checked(arm, path, f"{path}: arm.{name}") and _checked(one, path, f"{path}: vary")
                found.append(ArmPlan(name, varied, plan, unchanged))
        later = [*(("fast.", table) for table in small), *(("--set ", table) for table in said)]
        layers = {n: (("", raw), (f"arm.{n}.", table_in(changes, n, path)), *later) for n in laid}
        trial = _trial([raw, *every], found, changes, path)
        if trial is None or _place(trial, found):
            trial = trial and _at_a_node(trial, found)
            return cls(title, found, fast, trial=trial, file=str(path), layers=layers)
        left_out = f"it is of arm {trial.arm!r}, which --arm leaves out"
        return cls(title, found, fast, left_out=left_out, file=str(path), layers=layers)

    def of_nodes(self, names: Sequence[str]) -> Study:
        """These nodes and those that they need alone. Raises PlanError if one of them is nowhere."""
        known = {name: None for arm in self.arms for name in arm.plan.node}
        for name in names:
            if name not in known:
                raise PlanError(f"--node {name!r}: no node is called so. {suggest(name, known)}")
        arms = []
        for arm in self.arms:
            needed = [name for name in names if name in arm.plan.node]
            for name in needed:  # which grows: what is needed may need more
                node = arm.plan.node[name]
                needed += [n for n in (*(h.node for h in node.helped_by.values()), node.start) if n and n not in needed]
            if needed:
                few = {name: node for name, node in arm.plan.node.items() if name in needed}
                arms.append(replace(arm, plan=arm.plan.model_copy(update={"node": few})))
        if self.trial is None:
            return replace(self, arms=arms, partly=True)
        if _place(self.trial, arms) == _place(self.trial, self.arms):
            return replace(self, arms=arms, partly=True)
        why = f"it is of node {self.trial.node!r}, which --node leaves out"
        return replace(self, arms=arms, partly=True, trial=None, left_out=why)

    def with_recorded(self, trial: Trial | None) -> Study:
        """This study with the trial that its record asks for, where the arm and node of it are there."""
        return replace(self, trial=trial if trial and _place(trial, self.arms) else None)


def _place(trial: Trial, arms: Sequence[ArmPlan]) -> tuple[str, int, Mapping[str, Any]] | None:
    """The arm of a trial, at what varies; None where it, or the trial's node, is not among these."""
    arm = next((arm for arm in arms if trial.arm in ("", arm.name)), None)
    if arm is None or (trial.node and trial.node not in arm.plan.node):
        return None
    return arm.name, arm.plan.seed, arm.varied


def _at_a_node(trial: Trial, arms: Sequence[ArmPlan]) -> Trial:
    """The trial of the highest node, where it names none: found before nodes are left out, or changed."""
    plan = next(arm.plan for arm in arms if trial.arm in ("", arm.name))
    level = {} if trial.node else plan.graph().level_of()
    helped = (name for name in level if plan.node[name].helped_by)
    highest = max(helped, key=lambda name: level[name], default=trial.node)
    return trial.model_copy(update={"node": highest})


def _as_said(_: Raw, after: Raw) -> Raw:
    return after


def _base(raw: Raw, path: Path) -> dict[str, Any]:
    """The plan that arms change, as the record keeps it; empty where it is none without them."""
    try:
        return _checked(raw, path, str(path)).model_dump(mode="json", include={"node"})
    except PlanError:
        return {}


def _checked(raw: Raw, path: Path, where: str) -> Plan:
    return Plan.from_raw(_at_home({k: v for k, v in raw.items() if k != "family"}, path), where)


def _trial(tables: Sequence[Raw], arms: Sequence[ArmPlan], names: Raw, path: Path) -> Trial | None:
    """The trial that a file (the first of these tables) asks for, with what `[fast]` and `--set` change of it. Its arm
    is one of these names, and need not be among those that are run. Raises PlanError."""
    if not any("trial" in table for table in tables):
        return None
    if "trial" not in tables[0]:
        raise PlanError(
            f"{path}: trial: there is no [trial] in this plan to change; an empty table [trial] asks for one"
        )
    whole: Raw = {}
    for table in tables:
        whole = merge(whole, table_in(table, "trial", path))
    try:
        trial = Trial.model_validate(whole)
    except ValidationError as error:
        told = readable(error, Trial, ())  # which begins with a colon, where the whole is at fault
        raise PlanError(f"{path}: trial{'' if told.startswith(':') else '.'}{told}") from None
    for place, value in misread(whole, trial):
        raise PlanError(f"{path}: trial.{place}: this should be a number (got {written(value)})")
    for use in trial.uses():
        use._folder = str(path.parent.absolute())
    if trial.arm and trial.arm not in names:
        raise PlanError(f"{path}: trial.arm: no arm is called {trial.arm!r}. {suggest(trial.arm, names)}")
    nodes = next((arm.plan.node for arm in arms if trial.arm in ("", arm.name)), None)
    if nodes is None:  # which is told where it would be done
        return trial
    if trial.node and trial.node not in nodes:
        raise PlanError(f"{path}: trial.node: no node is called {trial.node!r}. {suggest(trial.node, nodes)}")
    if trial.node and not nodes[trial.node].helped_by:
        raise PlanError(f"{path}: trial.node: nobody helps to judge {trial.node!r}: name a node that has `helped_by`")
    return trial


def read_toml(path: Path) -> tuple[Raw, str]:
    """A config file's table, and its first comment line as a title."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a mark of their own before it
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise PlanError(f"there is no plan {str(path)!r}. {plans_near(path)}") from None
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


def plans_near(path: Path) -> str:
    """Which plans there are where one is missing: one of that name in `configs`, or what stands beside it."""
    named = Path("configs") / f"{path.stem.replace('-', '_')}.toml"
    if named != path and named.is_file():
        return f"Did you mean {str(named)!r}?"
    return suggest(str(path), [str(p) for p in sorted(path.parent.glob("*.toml")) if p.name != "pyproject.toml"])


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
            inside = ("use", "user")
            return {k: near(v) if k in paths else homed(v, k) if k in inside else v for k, v in value.items()}
        if isinstance(value, dict):
            return {k: homed(v, k) for k, v in value.items()}
        return value

    def with_files(table: Raw) -> Raw:
        files = table.get("judged", [])
        files = [files] if isinstance(files, str) else files
        return table | ({"judged": [near(f) if isinstance(f, str) else f for f in files]} if files else {})

    nodes = {name: with_files(table) for name, table in cast(Raw, homed(raw["node"])).items()}
    return {**raw, "node": nodes, "folder": str(folder)} if relative else raw


def _paths(key: str, table: Raw, folder: str) -> set[str]:
    """The settings of a component, in a table under that key, that are paths at which there is something."""
    given = {k for k, v in table.items() if k != "use" and isinstance(v, str) and v}
    given = {k for k in given if there(folder, table[k]) or there("", table[k])}
    registry = {**ROLES, "task": TASKS, "wrapped_in": ASSISTANTS, "terms": REWARD_TERMS, "user": EVALUATORS}.get(key)
    if registry is None or not given or not isinstance(table["use"], str):
        return set()
    try:
        return given & set(registry.get(placed(table["use"], folder)).paths)
    except PlanError:  # told when it is built
        return set()
