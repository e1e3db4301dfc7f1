"""What starting costs: CPU-seconds of `rrm --help` (bar: 0.4) and of `import rrm`, and which packages they load.

    python -m benchmarks.start [--json] [--repeats 7]

Each is run in a process of its own, whose user and system time is what the operating system counted; the median of a
few, after one that writes the byte code. "python" is the interpreter alone, which no code of ours can mend. The list
shows the packages from outside the standard library; torch, transformers and a web framework must not be in it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.machine import give, parser, verdict

BAR = 0.4
HELP = "import sys; sys.argv = ['rrm', '--help']; from rrm.cli import main; main()"
COMMANDS = {"rrm --help": HELP, "import rrm": "import rrm", "python": "pass"}

LOADED = """
import atexit, json, sys
def tell():
    tops = {name.partition('.')[0] for name in sys.modules}
    own = sorted(t for t in tops if t not in sys.stdlib_module_names and not t.startswith('_'))
    sys.stderr.write(json.dumps({"packages": own, "modules": len(sys.modules)}))
atexit.register(tell)
"""
"""Put before a command: at its end, it tells what was imported."""


def cpu_seconds(code: str) -> float:
    """User and system time of one process."""
    null = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-c", code], stdout=null, stderr=null) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code!r} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def loaded(code: str) -> dict[str, Any]:
    """The packages that it imports, and how many modules in all."""
    done = subprocess.run([sys.executable, "-c", LOADED + code], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return found


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--repeats", type=int, default=7)
    given = command.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for name, code in COMMANDS.items():
        cpu_seconds(code)
        times = [cpu_seconds(code) for _ in range(given.repeats)]
        found[name] = {"seconds": statistics.median(times), "each": times, **loaded(code)}
    heavy = {"torch", "transformers", "starlette", "fastapi", "flask"}
    passed = found["rrm --help"]["seconds"] <= BAR and not any(heavy & set(f["packages"]) for f in found.values())
    rows: list[list[object]] = [["command", "CPU-s", "modules", ""]]
    for name, f in found.items():
        rows.append([name, f["seconds"], f["modules"], f"bar {BAR}: {verdict(passed)}" if "help" in name else ""])
    give({"bar": BAR, "passed": passed, "commands": found}, rows, as_json=given.json)
    if not given.json:
        for name, figures in found.items():
            print(f"{name} loads: {', '.join(figures['packages'])}")


if __name__ == "__main__":
    main()
