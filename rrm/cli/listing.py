"""`rrm list`: every component by kind, read without importing any of them."""

from __future__ import annotations

import ast
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rrm.cli import app
from rrm.cli.arguments import Json

if TYPE_CHECKING:
    from rrm.registry import Registry

WRAPPER = "wrapper"
"""The kind of the assistants that stand before another."""


@app.command(name="list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="task, assistant, evaluator, protocol, …", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """List every component that a plan can name: what it does, and where it comes from.

    \b
    rrm list
    rrm list evaluator
    rrm list wrapper                     # the assistants that stand before another: `wrapped_in` in a plan
    """
    import json

    from rrm.inert import inert
    from rrm.registry import ASSISTANTS

    if kind is not None and kind.removesuffix("s") == WRAPPER:
        found = {WRAPPER: [_entry(ASSISTANTS, n, o) for n, o in ASSISTANTS.names().items() if _wraps(n)]}
    else:
        found = {r.kind: [_entry(r, name, origin) for name, origin in r.names().items()] for r in _chosen(kind)}
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    wide = max((len(e["name"]) for entries in found.values() for e in entries), default=0)
    for which, entries in found.items():
        typer.echo(f"{which}s" if len(found) > 1 else "", nl=len(found) > 1)
        for entry in entries:
            origin = "" if entry["from"] == "built in" else f"  [{entry['from']}]"
            typer.echo(f"  {entry['name']:<{wide}}  {inert(entry['does'], 200)}{origin}")


def _chosen(kind: str | None) -> list[Registry[Any]]:
    from rrm.errors import UnknownComponent
    from rrm.graph import suggest
    from rrm.registry import REGISTRIES

    if kind is None:
        return list(REGISTRIES)
    wanted = [r for r in REGISTRIES if kind.removesuffix("s") == r.kind]
    if not wanted:
        raise UnknownComponent(
            f"no kind of component is called {kind!r}. {suggest(kind, [*(r.kind for r in REGISTRIES), WRAPPER])}"
        )
    return wanted


def _entry(registry: Registry[Any], name: str, origin: str) -> dict[str, str]:
    module = registry.module_of(name)
    return {"name": name, "does": _first_line(module), "from": origin}


def _wraps(name: str) -> bool:
    """Whether an assistant is a wrapper, by what its source says of its class."""
    from rrm.registry import ASSISTANTS

    classes = [node for node in _source(ASSISTANTS.module_of(name)).body if isinstance(node, ast.ClassDef)]
    return any(ast.unparse(base).rpartition(".")[2] == "Wrapper" for node in classes for base in node.bases)


def _first_line(module: str) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(_source(module)) or "").split("\n\n", 1)[0].replace("\n", " ")


def _source(module: str) -> ast.Module:
    """A module as it is written, empty where that is not known: importing some of them takes seconds."""
    path: list[str] | None = None
    source = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return ast.Module([], [])
        path, source = list(spec.submodule_search_locations or ()), spec.origin
    if source is None or not source.endswith(".py"):
        return ast.Module([], [])
    return ast.parse(Path(source).read_text(encoding="utf-8"))
