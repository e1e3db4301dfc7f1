"""How a plan's tables are laid over each other: defaults, families, arms, the small size, `--set` and what varies."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rrm.errors import PlanError
from rrm.faults import written
from rrm.graph import suggest
from rrm.registry import (
    ASSISTANTS,
    EVALUATORS,
    POLICY_TRAINERS,
    PROTOCOLS,
    REWARD_TRAINERS,
    SELECTIONS,
    Registry,
    placed,
)

Raw = dict[str, Any]
Layers = Sequence[tuple[str, Raw]]
"""Tables, later ones laid over earlier ones, each with what stands before its keys: "", "arm.oracle.", "--set "."""

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
    families, nodes = table_in(raw, "family", where), raw.get("node", {})
    if not isinstance(nodes, dict) or not nodes:
        raise PlanError(f"{where}: a plan needs at least one [node.NAME] with a task")
    shared = _worded({k: raw[k] for k in SHARED if k in raw})
    whole = {}
    for name, table in nodes.items():
        if not isinstance(table, dict):
            raise PlanError(f"{where}: node.{name} should be a table with a task, not {written(table)}")
        family = table.get("family")
        if family is not None and not isinstance(family, str):
            raise PlanError(f"{where}: node.{name}.family should be a family's name, not {written(family)}")
        if family is not None and family not in families:
            raise PlanError(f"{where}: node.{name}.family: there is no [family.{family}]. {suggest(family, families)}")
        own = table_in(families, family, f"{where}: family") if family is not None else {}
        inherited = merge(shared, _worded(own))
        whole[name] = merge(inherited, _worded({k: v for k, v in table.items() if k != "family"}))
    for family in families:
        if family not in {table.get("family") for table in nodes.values()}:
            raise PlanError(
                f"{where}: family.{family}: no node is of this family: write family = {family!r} in one, or drop it"
            )
    of = {name: table["family"] for name, table in nodes.items() if "family" in table}
    rest = {k: v for k, v in raw.items() if k not in (*SHARED, "family")}
    return {**rest, "node": whole, **({"family": of} if of else {})}


def lay(whole: Raw, change: Raw, where: str = "", taken: Taken | None = None) -> Raw:
    """A change laid over a spread plan: its `cast`, `effort` and `gate` over every node's own, a family's over those of
    its nodes.

    Raises PlanError for a change of a node that there is not; one with a task is a node more. With `taken`, a setting
    that a node's component does not have is left out there, if another component in its place has it.
    """
    over = _worded({k: v for k, v in change.items() if k in SHARED})
    nodes = {name: merge(table, taken.fitting(over, table) if taken else over) for name, table in whole["node"].items()}
    for name, table in _of_families(change, whole.get("family", {}), where).items():
        nodes[name] = merge(nodes[name], taken.fitting(table, nodes[name]) if taken else table)
    own = table_in(change, "node", where)
    for name in own:
        if "task" not in table_in(own, name, f"{where}: node") and name not in nodes:
            raise PlanError(f"{where}: node.{name}: no node is called {name!r}. {suggest(name, nodes)}")
    rest = {k: v for k, v in change.items() if k not in (*SHARED, "family")}
    if own:
        rest["node"] = {name: _worded(table) for name, table in own.items()}
        for name in rest["node"].keys() & nodes.keys():
            rest["node"][name] = taken.fitting(rest["node"][name], nodes[name]) if taken else rest["node"][name]
    return merge({**whole, "node": nodes}, rest)


OFF: Mapping[tuple[str, str], object] = {
    ("effort", "cases"): 0,
    ("effort", "first_cases"): 0,
    ("effort", "exam"): 0,
    ("gate", "on_fail"): "off",
    ("spot", "on_fail"): "off",
}
"""What is switched off, at which value."""


def still_off(before: Raw, after: Raw) -> Raw:
    """A spread plan after [fast] was laid over it, in which nothing is on that was off before: an arm that asks nobody,
    or stands at no gate, would be another arm."""
    nodes = dict(after["node"])
    for name, old in before["node"].items():
        kept: Raw = {}
        for (table, key), off in OFF.items():
            of = old.get(table)
            given = of.get(key) if isinstance(of, dict) else None
            asks_nobody = key == "first_cases" and given is None and isinstance(of, dict) and of.get("cases") == 0
            if (given == off and not isinstance(given, bool)) or asks_nobody:
                kept.setdefault(table, {})[key] = off
        nodes[name] = merge(nodes[name], kept)
    return {**after, "node": nodes}


def _of_families(change: Raw, of: Mapping[str, str], where: str) -> dict[str, Raw]:
    """By node, what a change says of its family. Raises PlanError for a family that there is not."""
    said = table_in(change, "family", where)
    for family in said:
        if family not in of.values():
            known = list(dict.fromkeys(of.values()))
            raise PlanError(f"{where}: family.{family}: no node is of such a family. {suggest(family, known)}")
    return {name: _worded(table_in(said, family, f"{where}: family")) for name, family in of.items() if family in said}


class Taken:
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
            return set(ROLES[role].get(placed(use, self._folder)).Settings.model_fields)
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
        found["cast"] = {role: {"use": u} if isinstance(u, str) and role in ROLES else u for role, u in cast_.items()}
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
    if isinstance(value, list) and value and (head == "seed" or (head in ("effort", "gate", "spot") and rest)):
        raise PlanError(f"--set {change!r}: to run at several values, write --set 'vary.{key}={text.strip()}'")
    return key, value


def only(key: str, value: object) -> Raw:
    """The table in which there is only this."""
    laid: Raw = {}
    put(laid, key, value)
    return laid


def table_in(raw: Raw, key: str, path: object) -> Raw:
    """The table at a key, empty where there is none. Raises PlanError if something else is there."""
    value = raw.get(key, {})
    if not isinstance(value, dict):
        raise PlanError(f"{path}: {key} should be a table, not {written(value)}")
    return cast(Raw, value)


def written_at(layers: Layers, node: str, key: Sequence[str]) -> str:
    """The table in which a node's key, such as ("cast", "evaluator", "budget"), is written: of the last layer that has
    it. Empty where none has."""
    families = [_below(table, ("node", node, "family")) for _, table in layers]
    for before, table in reversed(layers):
        for of in (("node", node), *(("family", f) for f in families if isinstance(f, str)), ()):
            place = (*of, *key)
            alone = key[-1] == "use" and isinstance(_below(table, place[:-1]), str)  # a component may be its name
            if alone or _below(table, place) is not None:
                return f"{before}{'.'.join(place[:-1])}"
    return ""


def _below(table: object, place: Sequence[str]) -> object:
    for key in place:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def leaves(table: Raw, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys, and what is no table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def several(value: object, where: str) -> Sequence[object]:
    """The values that vary. Raises PlanError if there is none."""
    if not isinstance(value, list) or not value:
        raise PlanError(f"{where}: what varies is a list of values, like [0, 1, 2], not {written(value)}")
    for number, one in enumerate(value):
        if any(written(one) == written(before) for before in value[:number]):
            raise PlanError(f"{where}: {written(one)} stands there twice: it is one run; write each value once")
    return value
