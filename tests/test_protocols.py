"""Protocols: what is asked before a case is judged; and reward terms, which are as small."""

from __future__ import annotations

import pytest

from rrm import (
    Asking,
    Case,
    Exhibit,
    Helper,
    Helpers,
    Item,
    OversightProtocol,
    Query,
    Response,
    Seed,
    SettingsError,
    Task,
    ask_all,
)
from rrm.registry import ASSISTANTS, PROTOCOLS, REWARD_TERMS, TASKS
from rrm.testing import check_protocol

ITEM = Item(task="column-sum", prompt="Add up: 1 2 3 4 5 6 7 8")
CASE = Case(item=ITEM, responses=(Response(item=ITEM.id, text="36"), Response(item=ITEM.id, text="35")))


@pytest.mark.parametrize("protocol", ["unassisted", "recursive"])
@pytest.mark.parametrize("task", ["column-sum", "permutation-power"])
def test_contract(protocol: str, task: str) -> None:
    check_protocol(PROTOCOLS.build(protocol), TASKS.build(task))


def _exhibits(protocol: str) -> tuple[Exhibit, ...]:
    task = TASKS.build("column-sum", {"length": 8})
    helpers = Helpers({"block": Helper("adder", ASSISTANTS.build("careless-adder", {"slip": 0}))}, seed=Seed(0))
    (found,) = ask_all([PROTOCOLS.build(protocol).assist(task, CASE)], helpers)
    return found


def test_recursive_asks_what_the_task_asks() -> None:
    assert [e.text for e in _exhibits("recursive")] == ["10", "26"]


def test_unassisted_asks_nothing() -> None:
    assert _exhibits("unassisted") == ()


class Meddler(OversightProtocol):
    """Breaks the contract: asks about a response that there is not."""

    def assist(self, task: Task, case: Case) -> Asking:
        yield Query(subtask="block", about="nobody", item=case.item)


class Endless(OversightProtocol):
    def assist(self, task: Task, case: Case) -> Asking:
        while True:
            yield Query(subtask="block", item=case.item)


class Moody(OversightProtocol):
    asked = 0

    def assist(self, task: Task, case: Case) -> Asking:
        self.asked += 1
        yield Query(subtask="block", item=Item(task="column-sum", prompt=str(self.asked)))


@pytest.mark.parametrize(
    ("broken", "said"), [(Meddler, "not the id"), (Endless, "come to an end"), (Moody, "the second time")]
)
def test_the_check_finds(broken: type[OversightProtocol], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_protocol(broken(), TASKS.build("column-sum"), cases=1)


# -- reward terms ---------------------------------------------------------------------------------------------------


def test_length_costs() -> None:
    term = REWARD_TERMS.build("length", {"per": 10})
    assert [term.value(ITEM, text) for text in ("", "x" * 5, "x" * 20)] == [0, -0.5, -2]
    with pytest.raises(SettingsError, match="per"):
        REWARD_TERMS.build("length", {"per": 0})


def test_pattern_matches_whole_answers() -> None:
    term = REWARD_TERMS.build("pattern", {"pattern": "-?[0-9]+"})
    assert [term.value(ITEM, text) for text in ("-12", "12 ", "12\n", "", "x12")] == [1, 0, 0, 0, 0]
    anything = REWARD_TERMS.build("pattern")
    assert [anything.value(ITEM, text) for text in ("a\nb", "", " \n")] == [1, 0, 0]


def test_a_bad_pattern_is_told_in_one_line() -> None:
    with pytest.raises(SettingsError, match="not a regular expression") as caught:
        REWARD_TERMS.build("pattern", {"pattern": "("})
    assert "\n" not in str(caught.value)
