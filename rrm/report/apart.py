"""What arms and seeds differ in beyond what their plan compares: by that they stand apart, and are not compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rrm.picture import short
from rrm.records import Arm

Settings = dict[tuple[str, str], Any]
"""A plan's, by (node, key in it)."""


def differences(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """For each arm the settings by which it stands apart from others at the same values of what varies.

    Arms of one plan differ in what it says of each, and in nothing else: what their plan is without that
    (`Arm.base`) should be the same. Seeds of one arm differ in nothing.
    """
    found: list[dict[str, Any]] = [{} for _ in arms]
    for group in _grouped(range(len(arms)), lambda i: arms[i].varied):
        alike = [(part, "plan") for part in _grouped(group, lambda i: arms[i].name)]
        for part, base in (*alike, ([i for i in group if arms[i].base], "base")):
            each = _differing([(_settings(arms[i].plan), _settings(getattr(arms[i], base))) for i in part])
            for i, differs in zip(part, each, strict=True):
                found[i].update(differs)
    return found


def sentences(arms: Sequence[Arm], differs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same for people: what differs, and who has which value of it; what parts the same from the same, at once."""
    alike: dict[tuple[tuple[int, ...], ...], dict[str, list[str]]] = {}
    for key in dict.fromkeys(key for one in differs for key in one):
        values: dict[str, list[int]] = {}
        for i, one in enumerate(differs):
            if key in one:
                values.setdefault("none" if one[key] is None else _plain(one[key]), []).append(i)
        alike.setdefault(tuple(map(tuple, values.values())), {})[key] = list(values)
    for parts, keys in alike.items():
        groups = [[arms[i] for i in part] for part in parts]
        names = [dict.fromkeys(arm.name for arm in group) for group in groups]
        mixed = [n for n in dict.fromkeys(n for some in names for n in some) if sum(n in some for some in names) > 1]
        who = f"Seeds of {_listed(mixed)} differ" if mixed else "Arms here differ"
        each = "; ".join(
            f"{', '.join(_said(key, values[i], alone=len(keys) == 1) for key, values in keys.items())} in "
            f"{_called(group, mixed)}"
            for i, group in enumerate(groups)
        )
        yield (
            f"{who} in {_listed([short(key, 80) for key in keys])}, which is nothing that the plan compares ({each}): "
            "they were trained apart, with other settings, so that they stand apart here, and nothing is said across "
            "them."
        )


def _said(key: str, value: str, *, alone: bool) -> str:
    return short(value, 60) if alone else f"{short(key, 80)} {short(value, 60)}"


def _called(arms: Sequence[Arm], mixed: Sequence[str]) -> str:
    """Arms by name, those whose seeds are not alike with the seeds."""
    seeds: dict[str, list[int]] = {}
    for arm in arms:
        seeds.setdefault(arm.name, []).extend([arm.seed] if arm.name in mixed else [])
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, some in seeds.items():
        alike.setdefault(tuple(dict.fromkeys(some)), []).append(name)
    return ", ".join(
        f"{_listed(names)} at seed{'s' if len(some) > 1 else ''} {', '.join(map(str, some))}"
        if some
        else ", ".join(short(name, 40) for name in names)
        for some, names in alike.items()
    )


def _listed(names: Sequence[str]) -> str:
    told = [short(name, 80) for name in names]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _differing(plans: Sequence[tuple[Settings, Settings]]) -> list[dict[str, Any]]:
    """Of each (plan, what it changes) the settings that are not the same in all. What a plan changes itself it is
    compared by, whatever the others have there."""
    every = dict.fromkeys(place for both in plans for settings in both for place in settings)
    having = {place: [i for i, (own, base) in enumerate(plans) if own.get(place) == base.get(place)] for place in every}
    differ = [p for p in every if len({_plain(plans[i][0].get(p)) for i in having[p]}) > 1]
    lacking = {node for node, key in differ if not key}
    differ = [(node, key) for node, key in differ if not key or node not in lacking]
    nodes = {node for node, _ in every}
    found: list[dict[str, Any]] = [{} for _ in plans]
    for node, key in differ:
        alike = all(
            (n, key) in differ and all(own.get((n, key)) == own.get((node, key)) for own, _ in plans) for n in nodes
        )
        name = key if key and alike else f"node.{node}.{key}".rstrip(".")  # what differs everywhere is said once
        for i in having[node, key]:
            found[i][name] = plans[i][0].get((node, key))
    return found


def _settings(plan: Mapping[str, Any]) -> Settings:
    nodes = plan.get("node")
    found: Settings = {}
    for name, table in nodes.items() if isinstance(nodes, dict) else ():
        found[name, ""] = True
        for key, value in _leaves(table):
            # what follows where a gate is not passed changes nothing that is trained before it
            found[name, key] = "warn" if key in ("gate.on_fail", "spot.on_fail") and value == "stop" else value
    return found


def _leaves(table: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items() if isinstance(table, dict) else ():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _grouped(places: Sequence[int], by: Any) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for i in places:
        found.setdefault(json.dumps(by(i), sort_keys=True), []).append(i)
    return list(found.values())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
