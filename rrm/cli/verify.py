"""`rrm verify`: whether the acting agents of a run can come to anything unsafe, by looking at all that they may do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from rrm.cli import app
from rrm.cli.arguments import Arms, Json, RunFolder, one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rrm.verify import Counterexample, Limits, Proof, Search

UNSAFE, UNKNOWN = 4, 3
"""Exit codes."""


@app.command()
def verify(
    run: RunFolder,
    arm: Arms = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", metavar="N", help="Only this seed; may be repeated.")
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node; may be repeated.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="greedy|sampled|both",
            help="The likeliest action alone, every action that is likely enough, or one after the other.",
            callback=one_of("both", "greedy", "sampled"),
        ),
    ] = "both",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Sampled: actions likelier than this are possible.")
    ] = 0.001,
    starts: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many starts are drawn where there are too many to list.")
    ] = 64,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Give up a search at so many states.")] = 5_000_000,
    as_json: Json = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code in files that the record names: only for a record you trust.")
    ] = False,
) -> None:
    """Prove that no unsafe event is reachable for an agent that acts, or show the shortest way to one.

    \b
    rrm verify runs/gridworlds
    rrm verify runs/gridworlds --arm recursive --seed 0 --node off-switch --starts 500
    rrm verify runs/gridworlds --arm visible --seed 0 --json | jq '.nodes."off-switch".safe'

    Every state is looked at that an agent may reach from its starts, whatever chance decides: once if it always takes
    its likeliest action (greedy), once if it may take any that is likelier than --threshold (sampled). Safe is what
    is safe both ways. Where a world has few starts all are looked at, else --starts held-out ones; the output says
    which. Nothing is trained, and no truth is asked.

    With --json: {"nodes": {NODE: {"safe", "states", "counterexample", …}}}. NODE is ARM/NODE, or ARM/SEED/NODE, where
    several arms or seeds are looked at. "safe" is null where it is not known.

    Exit code 0: all are safe; 4: for some agent an unsafe event is reachable; 3: none is known to be unsafe, but some
    search gave up, or could not be made.
    """
    from rrm.store import Store
    from rrm.verify import GREEDY, SAMPLED, Limits, chosen, keys, verified

    limits = Limits(threshold, starts, limit, {"greedy": [GREEDY], "sampled": [SAMPLED]}.get(policy, [GREEDY, SAMPLED]))
    store = Store(run, create=False)
    arms = chosen(store, names=arm or (), seeds=seed or (), nodes=node or (), trust=trust)
    found = []
    for proof in verified(store, arms, limits, node or ()):
        found.append(proof)
        if not as_json:
            _tell(proof, limits)
    if as_json:
        nodes = {key: proof.to_json() for key, proof in zip(keys(found), found, strict=True)}
        told = {"schema": 1, "threshold": threshold, "limit": limit, "nodes": nodes}
        typer.echo(json.dumps(told, indent=1, allow_nan=False))
    else:
        _sum_up(found)
    verdicts = {proof.safe for proof in found}
    raise typer.Exit(UNSAFE if False in verdicts else UNKNOWN if None in verdicts else 0)


def _tell(proof: Proof, limits: Limits) -> None:
    word = {True: "safe", False: "UNSAFE", None: "not known"}[proof.safe]
    _say(f"{proof.node} ({proof.arm.label}): {word}{f': {proof.why}' if proof.why else ''}")
    for one in proof.searches:
        _say(f"  {_how(one, limits)}: {_what(one, proof)}")
    if (way := proof.counterexample) is not None:
        _show(way)


def _how(search: Search, limits: Limits) -> str:
    return "greedy" if search.policy == "greedy" else f"sampled, above {limits.threshold:g}"


def _what(search: Search, proof: Proof) -> str:
    which = f"all {proof.starts:,} starts" if proof.exhaustive else f"{proof.starts:,} drawn starts"
    seen = f"{search.states:,} states looked at"
    if search.safe:
        rest = (
            "" if search.rest is None else f"; an episode leaves these with a probability of {search.rest:.2g} at most"
        )
        return f"no unsafe event is reachable from {which}; {seen}{rest}"
    ended = search.starts == proof.starts
    if search.counterexample is not None:
        way = search.counterexample
        steps = f"{len(way.actions)} step{'s' * (len(way.actions) > 1)}"
        sure = f"none is nearer from {which}" if ended else "a nearer one may be there: the limit was reached"
        return f"{way.event!r} is reachable in {steps} ({sure}); {seen}"
    return (
        f"not finished: {seen}, {search.starts:,} of {which} done, and nothing unsafe up to there; "
        "raise --limit, or lower --starts"
    )


def _show(way: Counterexample) -> None:
    _say(f"  the shortest way: start {way.start!r}, actions {way.actions!r}, then {way.event!r}")
    for number, frame in enumerate(way.frames):
        _say(f"    {way.actions[number - 1]}:" if number else "    start:")
        _say("\n".join(f"      {line}" for line in frame.splitlines()))


def _sum_up(proofs: Sequence[Proof]) -> None:
    count = [sum(proof.safe is verdict for proof in proofs) for verdict in (True, False, None)]
    agents = f"{len(proofs)} agent{'s' * (len(proofs) > 1)}"
    _say(f"{agents}: {count[0]} safe, {count[1]} unsafe, {count[2]} not known")


def _say(text: str) -> None:
    from rrm.inert import inert

    typer.echo(inert(text))
