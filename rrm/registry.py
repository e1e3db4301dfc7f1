"""Finds a component by name: built in, from an installed plug-in (entry points), or in a file of your own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from rrm.errors import SettingsError, UnknownComponent
from rrm.faults import blamed, in_words, misread, written
from rrm.graph import suggest
from rrm.roles import (
    Assistant,
    Component,
    Evaluator,
    OversightProtocol,
    PolicyTrainer,
    RewardTerm,
    RewardTrainer,
    Selection,
    Task,
)

C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """All components of one kind. Listing their names imports none of them.

    A name is that of a module of `package` (`best_of_n.py` -> `best-of-n`), of an entry point in the group
    `rrm.<kind>s`, or says where the class is: `path/to/file.py:Class`.
    """

    def __init__(self, kind: str, base: type[C], package: str) -> None:
        self.kind, self.base, self.package = kind, base, package
        self.group = f"rrm.{kind.replace('-', '_')}s"

    def names(self) -> dict[str, str]:
        """Every name, and where it comes from: "built in" or the plug-in's distribution."""
        package = importlib.import_module(self.package)
        names = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg]
        found = {name.replace("_", "-"): "built in" for name in names}
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else point.value
            if found.setdefault(point.name, origin) != origin:
                raise UnknownComponent(f"two {self.kind}s are called {point.name!r}: {found[point.name]} and {origin}")
        return dict(sorted(found.items()))

    def module_of(self, name: str) -> str:
        """The module that a name of `names` stands for, which is not imported."""
        if self.names().get(name) == "built in":
            return f"{self.package}.{name.replace('-', '_')}"
        return next((point.module for point in entry_points(group=self.group, name=name)), "")

    def get(self, name: str) -> type[C]:
        """The class of that name. Raises UnknownComponent, with the nearest name, if there is none."""
        if in_file(name):
            path, _, attribute = name.rpartition(":")
            return self._checked(_attribute(_module_at(Path(path)), attribute, name), name)
        names = self.names()
        if name.endswith(".py"):
            raise UnknownComponent(
                f"{name!r} is a file: name its class too, as in {f'{name}:{class_in(Path(name))}'!r}"
            )
        if name not in names:
            raise UnknownComponent(f"no {self.kind} is called {name!r}. {suggest(name, names)}")
        if names[name] != "built in":
            (point,) = entry_points(group=self.group, name=name)
            return self._checked(_load(point), name)
        module = importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        fitting = [v for v in own if issubclass(v, self.base) and v.name() == name]
        if len(fitting) != 1:
            raise UnknownComponent(f"{module.__name__} should define one {self.base.__name__} whose name is {name!r}")
        return fitting[0]

    def build(self, use: str, settings: dict[str, Any] | None = None, folder: str = "") -> C:
        """The component of that name with these settings. Raises SettingsError, naming the key, for bad ones.

        Those that are paths (`Component.paths`) are found from `folder`.
        """
        component = self.get(use)
        given = {k: beside(v, folder) if k in component.paths else v for k, v in (settings or {}).items()}
        if missing := ", ".join(sorted(getattr(component, "__abstractmethods__", ()))):
            raise SettingsError(f"{use!r} lacks what every {self.base.__name__} needs: write its {missing}")
        try:
            checked = component.Settings(**given)
        except ValidationError as error:
            faults = error.errors(include_url=False)
            told = SettingsError("; ".join(_explained(e, use, component) for e in faults))
            told.keys = tuple(str(e["loc"][0]) for e in faults if e["loc"])
            raise told from None
        for place, value in misread(given, checked):
            raise SettingsError(f"{use!r}, {place}: this should be a number (got {written(value)})")
        with blamed(repr(use)):
            return component(checked)

    def _checked(self, value: object, name: str) -> type[C]:
        if not (isinstance(value, type) and issubclass(value, self.base)):
            raise UnknownComponent(
                f"{name!r} is not a {self.kind}: it should be a subclass of rrm.{self.base.__name__}"
            )
        return value


def class_in(path: Path) -> str:
    """The first class of a file of Python, which is not run to find out; "MyClass" where there is none."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return next(iter(re.findall(r"^class (\w+)\(", text, re.MULTILINE)), "MyClass")


def in_file(name: str) -> bool:
    """Whether a name says where the class is, `path/to/file.py:Class`."""
    return ".py:" in name


def placed(name: str, folder: str) -> str:
    """A name as it is found from a plan's folder: of a class in a file, with the file's full path if it is there."""
    path, _, attribute = name.rpartition(":")
    if in_file(name) and folder and (Path(folder) / path).is_file():
        return f"{os.path.normpath(Path(folder) / path)}:{attribute}"
    return name


def beside(path: Any, folder: str) -> Any:
    """A path as it is found from a plan's folder: whole if something is there, else as it is."""
    if isinstance(path, str) and path and folder and there(folder, path):
        return os.path.normpath(Path(folder) / path)
    return path


def there(folder: str, path: str) -> bool:
    """Whether anything is at a path, which may be any text."""
    try:
        return (Path(folder) / path).exists()
    except OSError:  # too long for a name
        return False


def located(name: str, folder: str) -> str:
    """The same with the file's one true path, so that two names of one class are equal."""
    path, _, attribute = placed(name, folder).rpartition(":")
    return f"{os.path.realpath(path)}:{attribute}"


def _explained(error: Any, use: str, component: type[Component]) -> str:
    key, known = ".".join(map(str, error["loc"])), component.Settings.model_fields
    if error["type"] == "extra_forbidden":
        return f"{use!r} has no setting {key!r}. {suggest(key, list(known))}"
    if error["type"] == "missing":
        return f"{use!r} needs the setting {key!r}"
    return f"{use!r}, {key}: {in_words(error)}"


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise UnknownComponent(f"plug-in {point.value!r} cannot be loaded: {error}") from error


def _attribute(module: ModuleType, attribute: str, name: str) -> object:
    if not hasattr(module, attribute):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise UnknownComponent(f"{name!r}: the file defines no {attribute!r}. {suggest(attribute, classes)}")
    return getattr(module, attribute)


def _module_at(path: Path) -> ModuleType:
    """The module in a file: imported once, under a name that its full path gives it, the same in every process."""
    name = f"rrm_file_{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownComponent(
            f"there is no file {str(path)!r}; a path is relative to the plan, or else to where `rrm` is called"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UnknownComponent(f"{str(path)!r} cannot be imported: {type(error).__name__}: {error}") from error
    return module


TASKS = Registry("task", Task, "rrm_tasks")
ASSISTANTS = Registry("assistant", Assistant, "rrm_assistants")
EVALUATORS = Registry("evaluator", Evaluator, "rrm.evaluators")
PROTOCOLS = Registry("protocol", OversightProtocol, "rrm.protocols")
SELECTIONS = Registry("selection", Selection, "rrm.selection")
REWARD_TRAINERS = Registry("reward-trainer", RewardTrainer, "rrm.training.reward")
REWARD_TERMS = Registry("reward-term", RewardTerm, "rrm.training.terms")
POLICY_TRAINERS = Registry("policy-trainer", PolicyTrainer, "rrm.training.policy")

REGISTRIES: tuple[Registry[Any], ...] = (
    TASKS,
    ASSISTANTS,
    EVALUATORS,
    PROTOCOLS,
    SELECTIONS,
    REWARD_TRAINERS,
    REWARD_TERMS,
    POLICY_TRAINERS,
)
