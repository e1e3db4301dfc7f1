"""How figures are written: .98 [.97, .99], with no more digits than they have."""

from __future__ import annotations

from math import ceil, floor

from rrm.measure import Figure


def counted(n: int, what: str) -> str:
    """ "1 arm", "2 arms"."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def number(x: float) -> str:
    """A share in two digits, or three near the ends: .98, .996, 1.00."""
    digits = 3 if 0.985 <= abs(x) < 0.9995 or 0 < abs(x) < 0.005 else 2
    return _bare(f"{x:.{digits}f}")


def amount(x: float) -> str:
    """A count or a cost, or the mean of some: 12,000, 7, 2.5."""
    return f"{x:,.0f}" if x >= 100 or x == int(x) else f"{x:.1f}"


def signed(f: Figure) -> str:
    """A difference with its interval: "+.45 [.41, .49]"."""
    return f"{_bare(f'{f.mean:+.2f}')} {bounds(f)}".rstrip()


def bounds(f: Figure) -> str:
    """An interval: "[.41, .49]"; empty where there is none. Rounded outwards, so that it never leaves out its mean."""
    if f.low is None or f.high is None:
        return ""
    low, high = floor(100 * f.low + 1e-9) / 100, ceil(100 * f.high - 1e-9) / 100
    return f"[{_bare(f'{low:.2f}')}, {_bare(f'{high:.2f}')}]"


def _bare(text: str) -> str:
    text = text.replace("-", "−")
    return text.replace("0.", ".", 1) if text.lstrip("+−").startswith("0.") else text
