"""What training does to the process that it happens in: nothing that lasts."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from conftest import STUDY

from rrm import build
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
