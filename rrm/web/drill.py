"""Asks, on demand, what a helper's own helpers say of its answer, to any depth; what was said is kept, then shown."""

from __future__ import annotations

import threading

from rrm.asking import Helpers, ask_all
from rrm.desk import Desk, Handed
from rrm.desk.raters import Rater
from rrm.desk.sheet import Asked, ShownExhibit, shown_exhibit
from rrm.errors import Refused, RrmError
from rrm.hearing import known, serving
from rrm.inert import inert
from rrm.job import assemble_node, jobs, recorded
from rrm.node import Node
from rrm.records import Case, Exhibit, Rejudged, Response
from rrm.store import Store
from rrm.trial.record import SEATS


class Drill:
    """Puts questions to published helpers of the run in `store`, which are loaded when the first is asked. One question
    after the other: models share a machine with the run. Without a store there is nobody to ask."""

    def __init__(self, desk: Desk, store: Store | None, *, trust: bool = False) -> None:
        self._desk, self.store, self.trust = desk, store, trust
        self._nodes: dict[str, Node] = {}
        self._turn = threading.Lock()

    def ask(self, rater: Rater, id: str, exhibit: str) -> tuple[ShownExhibit, ...]:
        """What the helpers of whoever gave that exhibit say of it; asked again, it is the same.

        Raises Refused, saying why, where there is nobody to ask; TooLate where the case is no longer the rater's.
        """
        with self._turn:
            handed = self._desk.holds(rater.id, id)
            if why := self.why_not(handed):
                raise Refused(why)
            before = next((a for a in handed.asked if a.exhibit == exhibit), None)
            if before is None:
                before = self._asked(handed, exhibit)
                self._desk.note(rater.id, id, "asked", before.body)
            return before.shown

    def why_not(self, handed: Handed) -> str:
        """Why nobody is asked beside this case, whatever its exhibits are; empty where somebody may be."""
        if handed.sheet.place.startswith(f"{SEATS}/"):
            return "this case is of a trial of help: there is no other help than what lies beside it"
        key = handed.id.rpartition("-")[0]
        if self.store and any(e.key == key for e in self.store.read("study", "rejudged", Rejudged).values()):
            return "this case is judged once more, with the help that lay beside it before, and no other"
        return ""

    def _asked(self, handed: Handed, exhibit: str) -> Asked:
        if self.store is None:
            raise Refused("this server has no run beside it: nobody can be asked")
        try:
            given, user = self._given(self.store, handed, exhibit)
            helper = _helper(user, given)
            said = _said(self.store, helper, given)
            who = known(helper, self.store)
        except Refused:
            raise
        except RrmError as error:
            raise Refused(f"its helpers cannot be asked: {error}") from error
        case = Case(item=given.query.item, responses=(_answer(given),)) if given.query else None
        shown = tuple(shown_exhibit(e, case, who).model_copy(update={"about": None}) for e in said) if case else ()
        return Asked(exhibit=exhibit, key=helper.key, said=said, shown=shown)

    def _given(self, store: Store, handed: Handed, exhibit: str) -> tuple[Exhibit, Node]:
        """An exhibit that this rater has before them, and the node whose user it was laid before."""
        for asked in handed.asked:
            if found := next((e for e in asked.said if e.id == exhibit), None):
                return found, self._node(store, asked.key)
        user = self._node(store, handed.id.rpartition("-")[0])
        stream, _, number = handed.sheet.place.rpartition("/")
        case = self._desk.gold.case(handed.id)
        if case is None and number.isdecimal():
            case = store.read_one(user.key, f"{stream}/cases", int(number), Case)
        if case is None or case.id != handed.sheet.case:
            raise Refused("the run's record does not hold this case: nobody can be asked")
        found = next((e for e in case.exhibits if e.id == exhibit), None)
        if found is None:
            raise Refused("exhibit: there is none of this id beside the case")
        if handed.sheet.folded and exhibit not in handed.opened:
            raise Refused("exhibit: open it first")
        # at a spot check it is a helper's own user who judges
        users = [user, *(helper for helper, _ in user.helpers.values())]
        return found, next((u for u in users if inert(u.name, 80) == handed.sheet.node), user)

    def _node(self, store: Store, key: str) -> Node:
        if key not in self._nodes:
            wanted, _ = jobs(recorded(store, trust=self.trust))
            self._nodes = {job.key: assemble_node(job) for job in wanted}
        if key not in self._nodes:
            raise Refused("this case is of a plan that was changed meanwhile: nobody can be asked")
        return self._nodes[key]


def _helper(user: Node, given: Exhibit) -> Node:
    """Who gave the exhibit, if it has helpers itself."""
    if given.query is None or given.query.subtask not in user.helpers:
        raise Refused("exhibit: it is no helper's answer: there is nobody below to ask")
    helper, _ = user.helpers[given.query.subtask]
    if not helper.helpers:
        raise Refused(f"exhibit: {inert(helper.name, 80)} has no helpers: it answers by itself")
    return helper


def _said(store: Store, helper: Node, given: Exhibit) -> tuple[Exhibit, ...]:
    """What the helper's own user would be told of this answer, by the same protocol."""
    if given.query is None:
        return ()
    case = Case(item=given.query.item, responses=(_answer(given),))
    helper.task.foresee([case])
    helpers = Helpers(serving(helper, store), seed=helper.seed.at("drill", given.id), fresh=helper.effort.fresh)
    return ask_all([helper.protocol.assist(helper.task, case)], helpers)[0]


def _answer(given: Exhibit) -> Response:
    return Response(item=given.query.item.id if given.query else "", text=given.text, agent=given.agent)
