"""Where a glossary level's CPU time goes by its native stack: torch's kernels, its Python bindings, the interpreter.

    python -m benchmarks.kernels [--json] [--rate 200] [--sets effort.cases=100 …]             needs: pip install py-spy

`benchmarks.level` counts all that runs within the optimisation loops as kernels. This is the strict reading: py-spy
looks at the native stack of the same level many times a second; a sample counts as *kernel* only if code of
libtorch_cpu (or of its maths library) runs under the innermost Python frame. The rest of a loop is the interpreter and
torch's Python bindings, which no library for small networks in Python does without.

py-spy halts the process for every look. What enters the operating system (the record's commits, files, clocks) then
takes longer than by itself, so that "outside" comes out larger here than by the CPU time of `benchmarks.level`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.level import MEASURED
from benchmarks.machine import give, parser

_PYTHON = re.compile(r"\(.*\.py:\d+\)$|<.*>:\d+\)$")
_KERNELS = re.compile(r"\((?:libtorch_cpu|libmkl|libgomp|libopenblas)[^()]*\)")


def split(stacks: Iterable[str]) -> Counter[tuple[str, str]]:
    """Samples of the measured level by (loops or outside, what ran); `stacks` are py-spy's raw lines."""
    found: Counter[tuple[str, str]] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        if not any(f.startswith(f"{MEASURED} (") for f in frames):
            continue
        python = max(i for i, f in enumerate(frames) if _PYTHON.search(f))
        native = ";".join(frames[python + 1 :])
        what = (
            "torch's kernels"
            if _KERNELS.search(native)
            else "torch's bindings"
            if "libtorch_python" in native
            else "interpreter and others"
        )
        where = "loops" if any(f.startswith("Optimizer.run (") for f in frames) else "outside"
        found[where, what] += int(samples)
    return found


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--rate", type=int, default=200, help="Samples a second.")
    command.add_argument("--sets", nargs="*", default=[], help="Changes of the plan, to try a smaller one.")
    given = command.parse_args()
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{Path(sys.executable).resolve().parent}")
    spy = spy or shutil.which("py-spy")
    if spy is None:
        sys.exit("benchmarks.kernels needs py-spy: pip install py-spy")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks.txt"
        look = [spy, "record", "--native", "--rate", str(given.rate), "--format", "raw", "--output", str(raw), "--"]
        level = [sys.executable, "-m", "benchmarks.level", *(["--sets", *given.sets] if given.sets else [])]
        subprocess.run([*look, *level], check=True, capture_output=True)
        found = split(raw.read_text().splitlines())
    total = sum(found.values())
    rows: list[list[object]] = [["where", "what", "samples", "share"]]
    rows += [[where, what, n, f"{n / total:.1%}"] for (where, what), n in found.most_common()]
    shares = {f"{where}: {what}": n / total for (where, what), n in found.items()}
    give({"samples": total, "shares": shares}, rows, as_json=given.json)


if __name__ == "__main__":
    main()
