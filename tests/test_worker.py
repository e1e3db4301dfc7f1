"""What training does to the process that it happens in: nothing that lasts."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, STUDY

from rrm import build
from rrm.errors import RrmError
from rrm.job import jobs
from rrm.plan import Study
from rrm.store import Store
from rrm.worker import one_thread

NOTING = """
import os
from pathlib import Path

import torch
from rrm.evaluators.simulated import Simulated

class Noting(Simulated):
    def judge(self, *given, **named):
        seen = torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]
        Path(__file__).with_suffix(".seen").write_text(repr(seen))
        return super().judge(*given, **named)
"""


def test_training_in_this_process_leaves_its_threads_and_its_collector_as_they_were(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "noting.py"
    file.write_text(NOTING)
    study.write_text(STUDY.replace('"simulated"', f'"{file}:Noting"'))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    collector, before = (gc.get_threshold(), gc.get_freeze_count()), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        build.run(Study.load(study), Store(tmp_path / "out"), workers=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert file.with_suffix(".seen").read_text() == "(1, '1', '1')"
    assert (os.environ["OMP_NUM_THREADS"], os.environ.get("MKL_NUM_THREADS")) == ("5", None)
    assert (gc.get_threshold(), gc.get_freeze_count()) == collector


def test_the_threads_come_back_after_an_error_too() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError, match="1 thread"), one_thread():
            raise RuntimeError(f"{torch.get_num_threads()} thread")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_run_that_is_killed_leaves_no_word_of_the_library(study: Path, tmp_path: Path) -> None:
    """What cleans up after it warns of semaphores, which is nothing that anybody could do anything about."""
    study.write_text(STUDY.replace("cases = 6", "cases = 20000") + "[vary]\nseed = [0, 1]\n")
    command = [sys.executable, "-m", "rrm", "run", str(study), "--out", str(tmp_path / "out"), "-w", "2", "-q"]
    path = os.pathsep.join(str(ROOT / part) for part in ("", "tasks", "assistants"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as run:
        first, deadline = jobs(Study.load(study))[0][0], time.monotonic() + 60
        while time.monotonic() < deadline and not begun(tmp_path / "out", first.key):
            time.sleep(0.05)
        assert run.poll() is None
        run.kill()
        _, said = run.communicate(timeout=60)
    assert b"resource_tracker" not in said


def begun(folder: Path, key: str) -> bool:
    """Whether its workers have recorded anything of a node."""
    try:
        return bool(Store(folder, create=False).streams(key))
    except RrmError:
        return False
