"""What can go wrong, as a tree; every message says what is wrong, where, and what to write instead.

RrmError
├── PlanError              the plan cannot be run as written             (exit 1)
│   ├── GraphError         ... its task graph cannot be run level by level
│   ├── UnknownComponent   ... it names a component that does not exist
│   └── SettingsError      ... it gives a component settings that it does not take
├── StoreError             the record cannot be read or written          (exit 1)
│   └── MissingWeights     ... an agent's files are gone or damaged
├── ComponentError         a component broke the contract of its role    (exit 1)
├── GateFailed             an agent was not good enough to help others   (exit 1)
├── Refused                what a rater sent cannot be taken as it is    (exit 1)
│   └── TooLate            ... for it was said already, or the case is no longer theirs
└── Unfinished             cases still wait for a person                 (exit 3)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RrmError(Exception):
    """Anything that `rrm` raises on purpose. The command line prints it as one line, without a traceback."""

    exit_code = 1


class PlanError(RrmError):
    """The plan cannot be run as written."""

    place: str = ""
    """Of a component that is at fault, in a plan whose nodes are whole."""
    keys: tuple[str, ...] = ()
    """Those of its keys that are at fault."""


class GraphError(PlanError):
    """The task graph cannot be run level by level."""


class UnknownComponent(PlanError):
    """No component of that kind goes by that name."""


class SettingsError(PlanError):
    """A component does not take these settings."""


class StoreError(RrmError):
    """The record cannot be read or written."""


class MissingWeights(StoreError):
    """The files of a trained agent are gone or damaged."""


class ComponentError(RrmError):
    """A component broke the contract of its role."""


class GateFailed(RrmError):
    """An agent did not pass its gate, and the plan says to stop there."""


class Refused(RrmError):
    """What a rater sent cannot be taken as it is."""


class TooLate(Refused):
    """It was said already, or the case is no longer theirs."""


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """What `rrm` raises on purpose is told with its place."""
    try:
        yield
    except RrmError as error:
        raise type(error)(f"{where}: {error}") from error


class Unfinished(RrmError):
    """The evaluator stopped early; running the same plan again goes on from there."""

    exit_code = 3
