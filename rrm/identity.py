"""What a component's result depends on, as a hash: its settings, the code behind it, and the files it reads."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rrm.roles import Asker, Component

ROOMS = ("rrm.models", "rrm.training", "rrm.selection", "rrm.evaluators", "rrm.protocols")
"""Parts of rrm whose code belongs to the components built on them; the rest is covered by rrm's version and `LOGIC`."""


def identity(component: Component) -> list[Any]:
    """Equal for components that behave alike: part of a node's key."""
    kind = type(component)
    settings = component.settings.model_dump(mode="json", exclude=set(kind.unkeyed))
    # of a file, what stands in it counts, and not where it stands; what is no path, as a model's hub name, counts
    files = [k for k in kind.paths if isinstance(settings.get(k), str) and _there(settings[k])]
    settings |= dict.fromkeys(files, "")
    found: list[Any] = [kind.name(), settings, code_of(kind)]
    if isinstance(component, Asker):  # who is asked is described as what it is, and not as the plan names it
        settings.pop("user", None)
        found.append(identity(component.inner))
    read = [_digest(what) if isinstance(what, bytes) else contents_of(what) for what in component.reads()]
    return [*found, read] if read else found


def _there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long for a name
        return False


@functools.cache
def code_of(kind: type[Component]) -> str:
    """A hash of the modules that define a class and what it inherits from, and of those that they import from their
    own package or from rrm's rooms. Comments and layout do not count."""
    waiting = [c.__module__ for c in kind.__mro__ if c.__module__ not in ("builtins", "abc", "rrm.roles")]
    sources: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        path = _source(name)
        tree = ast.parse(path.read_bytes()) if path else ast.Module([], [])
        sources[name] = ast.dump(tree)
        waiting += [m for m in _imports(tree, name) if _belongs(m, name)]
    return _digest("\n".join(sources[name] for name in sorted(sources)).encode())


def contents_of(path: Path) -> str:
    """A hash of a file's bytes, or of a folder's files with their names; of nothing where there is nothing."""
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file()]
        return _digest("\n".join(f"{p.relative_to(path)} {_hashed(p)}" for p in files).encode())
    return _hashed(path) if path.is_file() else ""


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _imports(tree: ast.Module, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above: Sequence[str] = module.split(".")[: -node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _belongs(imported: str, module: str) -> bool:
    own = module.split(".")[0]
    if own != "rrm" and imported.split(".")[0] == own:
        return _source(imported) is not None
    return imported.startswith(tuple(f"{room}." for room in ROOMS)) and _source(imported) is not None


@functools.cache
def _source(module: str) -> Path | None:
    """The file of a Python module, if it has one."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        file = spec.origin if spec else None
    return Path(file) if file and file.endswith(".py") and Path(file).is_file() else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
