"""The report as one self-contained page: no script, no network, readable in ten years."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rrm.figures import amount, bounds, number, signed
from rrm.gate import AGREES
from rrm.inert import inert
from rrm.measure import MIN_GAP, Figure, over_seeds, t_interval, temperature_at_bound
from rrm.picture import Series, graph_svg, line_chart_svg, sentence, short
from rrm.records import SpotResult
from rrm.report.gap import Point
from rrm.report.measures import Sheet, sheets
from rrm.report.shown import Shown
from rrm.report.study import (
    ORACLE,
    RECURSIVE,
    UNASSISTED,
    Get,
    Run,
    Study,
    cell,
    families,
    gates,
    growth,
    mean_of,
    spots,
)
from rrm.report.trial import Tried
from rrm.report.trial import shown as shown_trials
from rrm.report.verdict import NEGLIGIBLE, SMALL, Verdict, limits
from rrm.spot import agreement, recall

_ORDER = {RECURSIVE: 0, UNASSISTED: 1, ORACLE: 2}
"""Arms that every study has keep their colours from page to page."""


def page(study: Study, said: Sequence[Verdict], cases: Iterable[Shown], title: str, tried: Sequence[Tried] = ()) -> str:
    """The whole page. Names and texts are inert, and the template escapes them."""
    arms = study.arms()
    shades = _colours(arms)
    return _environment().get_template("page.html.j2").render(
        title=short(title, 120),
        seeds=study.seeds(),
        small=SMALL if study.small else "",
        arms=[{"name": short(name, 80), "colour": shades[name], "seeds": len(runs)} for name, runs in arms.items()],
        verdicts=_grouped(said),
        graphs=_graphs(study),
        charts=_charts(study, arms, shades),
        levels=[_level(study, node, arms, shades) for node in study.levels],
        sheets=[_sheet(sheet, shades) for sheet in sheets(study)],
        curves=_curves(study, arms, shades),
        gaps=_gaps(study, arms),
        trials=shown_trials(tried),
        cases=list(cases),
        limits=[sentence(text) for text in limits(study)],
        min_gap=number(MIN_GAP),
        negligible=number(NEGLIGIBLE),
        agrees=AGREES,
    )  # fmt: skip


def _environment() -> Environment:
    """Escapes everything, whatever a template is called, and fails on a name that it was not given."""
    environment = Environment(
        loader=PackageLoader("rrm.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.lstrip_blocks = True
    environment.filters["inert"] = inert
    environment.filters["short"] = short
    environment.filters["sentence"] = sentence
    environment.filters["truth"] = lambda x: "–" if x is None else f"{x:.3g}"
    return environment


def _colours(arms: Iterable[str]) -> dict[str, int]:
    names = sorted(arms, key=lambda n: (_ORDER.get(n, 9), n))
    return {name: i for i, name in enumerate(names)}


def _grouped(said: Sequence[Verdict]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in said:
        groups.setdefault((verdict.node, verdict.setting), []).append(verdict)
    return [{"node": short(n, 80), "setting": short(s, 120), "all": found} for (n, s), found in groups.items()]


def _graphs(study: Study) -> list[dict[str, Any]]:
    """Each different graph once: an arm may leave a helper out."""
    found: dict[str, tuple[Run, list[str]]] = {}
    for run in study.runs:
        names = found.setdefault(run.graph.mermaid(), (run, []))[1]
        if run.arm.name not in names:
            names.append(run.arm.name)
    return [
        {"arms": [short(n, 60) for n in names], "svg": Markup(graph_svg(run.graph, standalone=False))}
        for run, names in found.values()
    ]


def _charts(study: Study, arms: dict[str, list[Run]], shades: dict[str, int]) -> list[Markup]:
    """Truth by level for each family of nodes, every arm a line, the honest baselines as strokes."""
    charts = []
    parts = {tuple(part): None for run in study.runs for part in families(run.graph)}
    for part in parts:
        chain = len({study.levels[n] for n in part}) == len(part)
        place = {node: float(i) for i, node in enumerate(part)}
        ticks = {x: str(study.levels[n]) if chain else short(n, 9) for n, x in place.items()}
        series = [
            Series(name, [(place[n], f) for n in part if (f := cell(runs, n, lambda r: r.truth))], shades[name], chain)
            for name, runs in arms.items()
        ]
        series = [s for s in series if s.points]
        if not series:
            continue
        honest = next((runs for runs in arms.values() if runs[0].arm.name == RECURSIVE), next(iter(arms.values())))
        at = f" ({honest[0].setting})" if len(study.settings()) > 1 else ""
        for i, (name, get) in enumerate(_BASELINES):
            points = [(place[n], Figure(f.mean, None, None, f.n)) for n in part if (f := cell(honest, n, get))]
            if points:
                series.append(Series(name + at, points, len(arms) + i, line=False))
        name = f"{short(part[0], 30)} to {short(part[-1], 30)}" if len(part) > 1 else short(part[0], 30)
        x_label = "level" if chain else "node, by level"
        svg = line_chart_svg(series, title=name, x_label=x_label, y_label="truth", x_ticks=ticks, standalone=False)
        charts.append(Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg), name))
    return charts


_BASELINES: tuple[tuple[str, Get], ...] = (("majority", lambda r: r.majority), ("untrained tree", lambda r: r.tree))


def _curves(study: Study, arms: dict[str, list[Run]], shades: dict[str, int]) -> list[Markup]:
    """Truth by round for each node."""
    charts = []
    for node in study.levels:
        series = []
        for name, runs in arms.items():
            rounds = sorted({n for run in runs if node in run.readings for n, _ in run.readings[node].curve})
            points = [(float(n), f) for n in rounds if (f := cell(runs, node, lambda r, n=n: dict(r.curve).get(n)))]  # type: ignore[misc]
            if points:
                series.append(Series(name, points, shades[name]))
        if any(len(s.points) > 1 for s in series):
            title = short(node, 40)
            svg = line_chart_svg(series, title=title, x_label="round", y_label="truth", standalone=False)
            charts.append(Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg), title))
    return charts


def _gaps(study: Study, arms: dict[str, list[Run]]) -> list[Markup]:
    """For each node and arm what its reward model believed, and what was true: each a share of its own largest gain."""
    charts = []
    for node in study.levels:
        for name, runs in arms.items():
            lines = []
            for what, get, colour in _BELIEF:
                found = _by_round(runs, node, get)
                most = max((abs(f.mean) for _, f in found), default=0.0)
                points = [(x, _scaled(f, most)) for x, f in found]
                lines.append(Series(what, points, colour))
            if all(len(s.points) > 1 for s in lines):
                title = f"{short(node, 40)}, {short(name, 40)}"
                y = "gain over round 0, of its largest"
                svg = line_chart_svg(lines, title=title, x_label="round", y_label=y, standalone=False)
                charts.append(Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg), title))
    return charts


_BELIEF: tuple[tuple[str, Callable[[Point], Figure], int], ...] = (
    ("believed", lambda p: p.believed, 1),
    ("true", lambda p: p.true, 0),
)


def _by_round(runs: Sequence[Run], node: str, get: Callable[[Point], Figure]) -> list[tuple[float, Figure]]:
    """A figure of the gap over seeds, for each round that any of them has."""
    apart = [
        {p.round: get(p) for p in gap.points} for r in runs if node in r.readings and (gap := r.readings[node].gap)
    ]
    rounds = sorted({n for one in apart for n in one})
    each = {n: [one[n] for one in apart if n in one] for n in rounds}
    means = {n: fs[0] if len(fs) == 1 else t_interval([f.mean for f in fs]) for n, fs in each.items()}
    return [(float(n), f) for n, f in means.items() if f]


def _scaled(f: Figure, by: float) -> Figure:
    if not by:
        return f
    low, high = (None if x is None else x / by for x in (f.low, f.high))
    return Figure(f.mean / by, low, high, f.n)


def _level(study: Study, node: str, arms: dict[str, list[Run]], shades: dict[str, int]) -> dict[str, Any]:
    gap, middle = study.gap_recovered(node), study.gap_median(node)
    return {
        "node": short(node, 80),
        "level": study.levels[node],
        "task": short(study.task(node).name(), 80),
        "gap": None if gap is None else f"{number(gap.mean)} {bounds(gap) or '(one seed: no interval)'}",
        "median": None if middle is None else number(middle),
        "gaps": _gaps_apart(study, node),
        "rows": [
            _row(name, runs, node, shades[name]) for name, runs in arms.items() if any(node in r.readings for r in runs)
        ],
    }


def _sheet(sheet: Sheet, shades: dict[str, int]) -> dict[str, Any]:
    def told(name: str, f: Figure | None) -> dict[str, str] | None:
        if f is None:
            return None
        return {"mean": amount(f.mean), "bounds": ""} if name in sheet.counts else {
            "mean": number(f.mean), "bounds": bounds(f)
        }  # fmt: skip

    return {
        "columns": [short(name, 40) for name in sheet.columns],
        "rows": [
            {"node": short(row.node, 80), "arm": short(row.arm, 80), "colour": shades[row.arm],
             "figures": [told(name, row.figures.get(name)) for name in sheet.columns]}
            for row in sheet.rows
        ],
    }  # fmt: skip


def _gaps_apart(study: Study, node: str) -> list[str]:
    """The gap recovered at each setting, if there are several."""
    apart = {s: study.gap_recovered(node, s) for s in study.gaps_by_setting(node)}
    told = [f"{short(s, 80)}: {number(f.mean)} {bounds(f)}".rstrip() for s, f in apart.items() if f]
    return told if len(told) > 1 else []


def _row(name: str, runs: Sequence[Run], node: str, colour: int) -> dict[str, Any]:
    passed, stood = gates(runs, node)
    results = [g for run in runs if node in run.readings and (g := run.readings[node].gate)]
    grew = growth(runs, node)
    return {
        "arm": short(name, 80),
        "colour": colour,
        "figures": {
            column: _shown(cell(runs, node, get)) for column, get in _COLUMNS.items()
        },
        "growth": signed(grew) if grew else None,
        "gate": None if not stood else f"{passed} of {stood}",
        "failed": passed < stood,
        "agreement": _share(sum(g.agreed for g in results), sum(g.checked for g in results)),
        "recall": _share(sum(g.found for g in results), sum(g.faults for g in results)),
        "spots": [_spot(helper, subtask, found) for (helper, subtask), found in spots(runs, node).items()],
        "log_loss": _average([g.log_loss for g in results]),
        "calibration": _average([g.calibration_error for g in results]),
        "temperature": _temperature([g.temperature for g in results]),
        "counts": [
            None if (mean := mean_of(runs, node, get)) is None else amount(mean)
            for get in (
                lambda r: r.judgements, lambda r: r.gate_judgements, lambda r: r.spot_judgements,
                lambda r: r.helper_questions, lambda r: r.helper_distinct, lambda r: r.cpu,
            )
        ],
        "errors": sorted({short(f"{e.helper}: {e.words()}", 120) for run in runs for e in run.helper_errors(node)}),
    }  # fmt: skip


def _spot(helper: str, subtask: str, results: Sequence[SpotResult]) -> dict[str, Any]:
    good = sum(r.trusted for r in results)
    return {
        "helper": short(f"{helper} ({subtask})", 80),
        "trusted": f"{good} of {len(results)}",
        "failed": good < len(results),
        "agreement": _shown(over_seeds([f for r in results if (f := agreement(r))])),
        "recall": _shown(over_seeds([f for r in results if (f := recall(r))])),
        "checked": sum(r.checked for r in results),
        "faults": sum(r.faults for r in results),
    }


def _shown(f: Figure | None) -> dict[str, str] | None:
    return None if f is None else {"mean": number(f.mean), "bounds": bounds(f)}


_COLUMNS: dict[str, Get] = {
    "truth": lambda r: r.truth,
    "user right": lambda r: r.judge,
    "reward right": lambda r: r.reward,
    "coverage": lambda r: r.coverage,
    "majority": lambda r: r.majority,
    "zero-shot": lambda r: r.zero_shot,
    "tree": lambda r: r.tree,
}


def _share(part: int, whole: int) -> str | None:
    return f"{part} of {whole}" if whole else None


def _average(found: Sequence[float | None]) -> str | None:
    known = [x for x in found if x is not None]
    return f"{sum(known) / len(known):.3g}" if known else None


def _temperature(found: Sequence[float | None]) -> str | None:
    """The mean; "≤" or "≥" where a search ended at its bound, for the best lies beyond; None where at both."""
    ends = {temperature_at_bound(x) for x in found} - {0}
    sign = {-1: "≤ ", 1: "≥ "}[ends.pop()] if len(ends) == 1 else ""
    mean = _average(found)
    return None if ends or mean is None else sign + mean
