"""The report as tables for a terminal of 100 columns or more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rrm.figures import amount, bounds, number
from rrm.measure import Figure, Share
from rrm.picture import sentence, short
from rrm.report.measures import Sheet, sheets
from rrm.report.study import RECURSIVE, Get, Run, Study, cell, gates, mean_of, spots
from rrm.report.trial import COLUMNS, Tried, cells, columns
from rrm.report.verdict import Verdict, limits

_ARMS = 3
"""So many arms fit side by side; more go into a further table."""

_WIDE = 100
"""Columns of a line."""

_STYLES = {"good": "green", "limit": "yellow", "caution": "red", "note": "dim"}


def show(study: Study, said: Sequence[Verdict], console: Console) -> None:
    """Print what was found: truth by arm, what it cost and how honest it is, and the verdicts."""
    if not study.runs:
        console.print(Text("No arm of a study is in this record yet."))
        return
    arms = study.arms()
    names = list(arms)
    for start in range(0, len(names), _ARMS):
        part = {name: arms[name] for name in names[start : start + _ARMS]}
        console.print(_truths(study, part, None if start else _baselines(arms)))
    for sheet in sheets(study):
        for table in _measures(sheet, _over(study)):
            console.print(table)
    console.print(_costs(study, arms))
    _say(said, console)
    for text in limits(study):
        console.print(Text.assemble(("  ! ", "yellow"), sentence(text)))


def show_trials(tried: Sequence[Tried], console: Console) -> None:
    """What trials of help found."""
    for trial in tried:
        alike = f"; of {trial.alike} the truth makes no difference" if trial.alike else ""
        many = f"{trial.judged:,} of {trial.planned:,} judgements{alike}"
        table = _table(f"Trial of help, {short(trial.node, 30)} ({short(trial.arm, 30)}): {many}")
        names = _apart((arm.name for arm in trial.result.arms), 14)
        table.add_column("help", no_wrap=True, min_width=_widest(names))
        there = columns(trial.result.arms)
        for i in there:
            table.add_column(COLUMNS[i], justify="right")
        for arm in trial.result.arms:
            row = [cells(arm)[i] for i in there]
            told = (Text.assemble(one, (f" {interval}" if interval else "", "dim")) for one, interval in row)
            table.add_row(Text(names[arm.name]), *(_unbroken(text) for text in told))
        console.print(table)
        for words in trial.words:
            console.print(Text(f"  • {sentence(words)}"))


def _unbroken(text: Text) -> Text:
    text.no_wrap = True
    return text


def _baselines(arms: Mapping[str, list[Run]]) -> list[Run]:
    """Whose agents the baselines are told of: the honest arm's, or else the first's."""
    return next((runs for runs in arms.values() if runs[0].arm.name == RECURSIVE), next(iter(arms.values())))


def _truths(study: Study, arms: dict[str, list[Run]], honest: list[Run] | None) -> Table:
    """With the baselines of `honest`, which stand in one part alone."""
    seeds = study.seeds()
    over = f"mean of {seeds} seeds [95 % interval]" if seeds > 1 else "one seed [95 % interval over items]"
    table = _table(f"{'Small size (--fast): ' if study.small else ''}Truth on held-out items, {over}")
    table.add_column("level", justify="right", no_wrap=True)
    nodes = _apart(study.levels, 18)
    table.add_column("node", no_wrap=True, min_width=_widest(nodes))
    for name in arms:
        table.add_column(Text(_both_ends(name, 34)), justify="right", min_width=12, overflow="fold")
    for name in ("majority", "zero-shot", "tree", "gap") if honest else ():
        table.add_column(name, justify="right", no_wrap=True)
    for node, level in study.levels.items():
        table.add_row(
            str(level),
            Text(nodes[node]),
            *(_figure(cell(runs, node, lambda r: r.truth)) for runs in arms.values()),
            *(
                [*(_mean(cell(honest, node, get)) for get in _BASELINES), _mean(study.gap_recovered(node))]
                if honest
                else []
            ),
        )
    told = []
    if honest and (len(study.settings()) > 1 or _apart_in_baselines(study)):
        at = f" at {short(honest[0].setting, 400)}" if honest[0].setting else ""
        told.append(f"Baselines: of {short(honest[0].arm.name, 40)}{at}.")
    if honest and len(study.settings()) > 1:
        told.append("Gap: mean over settings.")
    if honest and any((gap := study.gap_recovered(node)) and gap.low is None for node in study.levels):
        told.append("Gap: one seed: no interval.")
    if told:
        table.caption, table.caption_justify = Text(" ".join(told), style="dim"), "left"
    return table


_BASELINES: tuple[Get, ...] = (lambda r: r.majority, lambda r: r.zero_shot, lambda r: r.tree)


def _apart_in_baselines(study: Study) -> bool:
    """Whether arms, as written, differ in any of them."""
    every = study.arms().values()
    told = ({_mean(cell(runs, node, get)).plain for runs in every} for node in study.levels for get in _BASELINES)
    return any(len(figures - {"–"}) > 1 for figures in told)


def _over(study: Study) -> str:
    """What the figures are means of."""
    return " (means over seeds)" if study.seeds() > 1 else ""


def _measures(sheet: Sheet, over: str) -> Iterator[Table]:
    """Intervals are of shares; of a worth, and of counts, the means alone. What does not fit goes into a further
    table."""
    told = {name: _column(sheet, name) for name in sheet.columns}
    wide = {n: max(len(x) for x in (*short(n, 40).split(), *(c.plain for c in cells))) for n, cells in told.items()}
    nodes, arms = _apart((row.node for row in sheet.rows), 17), _apart((row.arm for row in sheet.rows), 12)
    sides = max(17, _widest(nodes)), max(12, _widest(arms))
    room = _WIDE - sum(sides) - 3
    parts: list[list[str]] = [[]]
    for name in told:
        if parts[-1] and sum(wide[n] + 2 for n in (*parts[-1], name)) > room:
            parts.append([])
        parts[-1].append(name)
    for place, part in enumerate(parts):
        title = f"What the tasks tell of held-out answers, and what the user spent{over}"
        table = _table("(continued)" if place else title)
        for side, size in zip(("node", "arm"), sides, strict=True):
            table.add_column(side, no_wrap=True, width=size)
        for name in part:
            table.add_column(Text(short(name, 40)), justify="right", min_width=wide[name])
        last = None
        for i, row in enumerate(sheet.rows):
            node = Text("" if row.node == last else nodes[row.node])
            table.add_row(node, Text(arms[row.arm]), *(told[name][i] for name in part))
            last = row.node
        yield table


def _column(sheet: Sheet, name: str) -> list[Text]:
    figures = [row.figures.get(name) for row in sheet.rows]
    if name in sheet.counts:
        return [_count(None if f is None else f.mean) for f in figures]
    shares = all(f is None or isinstance(f, Share) for f in figures)
    return [_figure(f) if shares else _mean(f) for f in figures]


def _costs(study: Study, arms: dict[str, list[Run]]) -> Table:
    table = _table(f"How it was judged, and what it cost{_over(study)}")
    nodes, labels = _apart(study.levels, 18), _apart(arms, 20)
    table.add_column("node", no_wrap=True, min_width=_widest(nodes))
    table.add_column("arm", no_wrap=True, min_width=_widest(labels))
    checked = any(spots(runs, node) for runs in arms.values() for node in study.levels)
    for name in (
        "user",
        "reward",
        "cover",
        "gate",
        *(["spot"] if checked else []),
        "judged",
        "asked",
        "distinct",
        "CPU-s",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for node in study.levels:
        first = True
        for name, runs in arms.items():
            if not any(node in run.readings for run in runs):
                continue
            passed, stood = gates(runs, node)
            table.add_row(
                Text(nodes[node] if first else ""),
                Text(labels[name]),
                *(_mean(cell(runs, node, get)) for get in _HONESTY),
                Text("–" if not stood else f"{passed}/{stood}", style="red" if passed < stood else ""),
                *([_spots(runs, node)] if checked else []),
                *(_count(mean_of(runs, node, get)) for get in _COUNTS),
            )
            first = False
    return table


def _spots(runs: Sequence[Run], node: str) -> Text:
    """How many helpers could be trusted, of those that were checked."""
    results = [r for found in spots(runs, node).values() for r in found]
    good = sum(r.trusted for r in results)
    return Text(f"{good}/{len(results)}" if results else "–", style="red" if good < len(results) else "")


_HONESTY: tuple[Get, ...] = (lambda r: r.judge, lambda r: r.reward, lambda r: r.coverage)
_COUNTS = (
    lambda r: r.judgements,
    lambda r: r.helper_questions,
    lambda r: r.helper_distinct,
    lambda r: r.cpu,
)


def _say(said: Sequence[Verdict], console: Console) -> None:
    last = None
    for verdict in said:
        place = verdict.node, verdict.setting
        if place != last:
            setting = f" ({short(verdict.setting, 60)})" if verdict.setting else ""
            console.print(Text(f"{short(verdict.node, 40)}{setting}", style="bold"))
        last = place
        console.print(Text.assemble(("  • ", _STYLES[verdict.kind]), sentence(verdict.text)))


def _table(title: str) -> Table:
    return Table(title=Text(title, style="bold"), title_justify="left", box=None, padding=(0, 1), pad_edge=False)


def _apart(names: Iterable[str], limit: int) -> dict[str, str]:
    """Names cut to so many characters, or to the fewest more at which no two become the same."""
    known = list(dict.fromkeys(names))
    for most in range(limit, 80):
        cut = {name: _both_ends(name, most) for name in known}
        if len(set(cut.values())) == len(known):
            return cut
    return {name: _both_ends(name, limit) for name in known}


def _widest(names: Mapping[str, str]) -> int:
    return max((cell_len(name) for name in names.values()), default=1)


def _both_ends(name: str, limit: int) -> str:
    """A name, cut in the middle: what varies stands at its end."""
    whole = short(name, 400)
    half = limit // 2
    return whole if len(whole) <= limit else f"{whole[: limit - half - 1]}…{whole[-half:]}"


def _figure(f: Figure | None) -> Text:
    if f is None:
        return Text("–", style="dim")
    return Text.assemble(number(f.mean), (f" {bounds(f)}", "dim"))


def _mean(f: Figure | None) -> Text:
    return Text("–", style="dim") if f is None else Text(number(f.mean))


def _count(x: float | None) -> Text:
    if x is None:
        return Text("–", style="dim")
    return Text(amount(x))
