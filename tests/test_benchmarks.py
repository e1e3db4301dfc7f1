"""Every benchmark runs at a tiny size and prints JSON; how fast it is, is for a quiet machine to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = [f"cast.{role}.{steps}=1" for role in ("reward", "policy") for steps in ("steps", "last_steps")]
RUNS = {
    "asking": ["--cases", "20", "--repeats", "1"],
    "growth": ["--largest", "1000", "--out", "asking.svg"],
    "desk": ["--cases", "60", "--turns", "30"],
    "injections": ["--kinds", "spoof"],
    "graph": ["--nodes", "50", "--repeats", "1"],
    "level": ["--sets", "effort.cases=4", "effort.rounds=1", "effort.exam=8", *TINY],
    "start": ["--repeats", "1"],
    "kinds": ["kinds", "--fast", "--workers", "1", "--out", "bars"],
    "trials": ["--small", "--trials", "2", "--candidates", "--people", "usual"],
    "gridworlds": ["--worlds", "containment", "--steps", "1024", "--iterations", "1", "--repeats", "1"],
    "ablation": [
        "not what a step led to",
        "reporters inverted",
        "--fast",
        "--seeds",
        "0",
        "--worlds",
        "containment",
        "--out",
        "ablation",
    ],
    "bars": ["helper-errors", "--fast", "--workers", "1", "--out", "bars"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_prints_what_it_found(name: str, tmp_path: Path) -> None:
    paths = [ROOT, ROOT / "tasks", ROOT / "assistants", *filter(None, [os.environ.get("PYTHONPATH")])]
    given = [str(tmp_path / word) if word in ("asking.svg", "ablation", "bars") else word for word in RUNS[name]]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--json", *given],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    assert found["machine"]["cores"] >= 1
    if name == "growth":
        assert (tmp_path / "asking.svg").read_text().startswith("<svg")
    if name == "kinds":
        assert {line["arm"] for line in found["kinds"]["kinds"]} >= {"adaptive", "preference", "demonstration"}
        assert all(0 < line["seconds"] <= 240 for line in found["kinds"]["kinds"])
    if name == "bars":
        lines = found["bars"]["helper-errors"]["lines"]
        assert [line["arm"] for line in lines] == ["independent", "systematic"]
        assert all(line["median"] is not None for line in lines)


def test_the_catalogue_names_every_benchmark() -> None:
    said = (ROOT / "benchmarks" / "README.md").read_text()
    assert [
        p.name for p in (ROOT / "benchmarks").glob("*.py") if f"`{p.name}`" not in said and p.stem != "learning"
    ] == []


def test_native_stacks_are_told_apart() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.kernels import split
        from benchmarks.level import MEASURED
    finally:
        sys.path.remove(str(ROOT))
    begin = f"main (level.py:9);{MEASURED} (level.py:80)"
    loop = f"{begin};Optimizer.run (rrm/models/optimizer.py:70);Linear.forward (torch/nn/modules/linear.py:1)"
    stacks = [
        "main (level.py:9);train (rrm/build.py:1) 100",  # a level below
        f"{loop};at::linear (libtorch_cpu.so);gemm (libtorch_cpu.so) 7",
        f"{loop};THPVariable_linear (libtorch_python.so) 2",
        f"{loop} 1",
        f"{begin};Store.write (rrm/store.py:1);sqlite3_step (libsqlite3.so) 3",
        f"{begin};Learner.respond (rrm/models/learner.py:1);at::linear (libtorch_cpu.so) 4",
    ]
    assert split(stacks) == {
        ("loops", "torch's kernels"): 7,
        ("loops", "torch's bindings"): 2,
        ("loops", "interpreter and others"): 1,
        ("outside", "interpreter and others"): 3,
        ("outside", "torch's kernels"): 4,
    }
