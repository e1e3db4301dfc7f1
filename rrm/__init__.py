"""Recursive reward modeling: train agents level by level, each judged with the help of the ones below.

This is the front door: every public name, and nothing else. Names are imported when they are first used, so that
`import rrm` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "blocks": ("Block", "Code", "Frames", "Image", "Table", "Text"),
    "errors": (
        "ComponentError", "GateFailed", "GraphError", "MissingWeights", "PlanError", "RrmError", "SettingsError",
        "StoreError", "Unfinished", "UnknownComponent",
    ),
    "graph": ("TaskGraph",),
    "asking": ("Helper", "Helpers", "ask_all"),
    "records": (
        "Abstention", "ActionLabels", "ActionValues", "Advantages", "Advice", "Approval", "Arm", "Case", "Correction",
        "Demonstration", "Exam", "Exhibit", "Feedback", "GateResult",
        "Item", "Mask", "Preference", "Query", "Ranking", "Rating", "Record", "Response", "StepLabels", "TermEdit",
    ),
    "roles": (
        "Asking", "Assistant", "Component", "Evaluator", "GivenTerm", "Judged", "OversightProtocol", "PolicyTrainer",
        "RewardModel", "RewardTerm", "RewardTrainer", "Scores", "Selection", "SoFar", "Subtask", "Task", "Turn",
        "Wrapper",
    ),
    "plan": ("Plan", "Study"),
    "report": ("Report",),
    "seed": ("Seed",),
    "store": ("Store",),
}  # fmt: skip
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)

if TYPE_CHECKING:
    from rrm.asking import Helper as Helper
    from rrm.asking import Helpers as Helpers
    from rrm.asking import ask_all as ask_all
    from rrm.blocks import Block as Block
    from rrm.blocks import Code as Code
    from rrm.blocks import Frames as Frames
    from rrm.blocks import Image as Image
    from rrm.blocks import Table as Table
    from rrm.blocks import Text as Text
    from rrm.errors import ComponentError as ComponentError
    from rrm.errors import GateFailed as GateFailed
    from rrm.errors import GraphError as GraphError
    from rrm.errors import MissingWeights as MissingWeights
    from rrm.errors import PlanError as PlanError
    from rrm.errors import RrmError as RrmError
    from rrm.errors import SettingsError as SettingsError
    from rrm.errors import StoreError as StoreError
    from rrm.errors import Unfinished as Unfinished
    from rrm.errors import UnknownComponent as UnknownComponent
    from rrm.graph import TaskGraph as TaskGraph
    from rrm.plan import Plan as Plan
    from rrm.plan import Study as Study
    from rrm.records import Abstention as Abstention
    from rrm.records import ActionLabels as ActionLabels
    from rrm.records import ActionValues as ActionValues
    from rrm.records import Advantages as Advantages
    from rrm.records import Advice as Advice
    from rrm.records import Approval as Approval
    from rrm.records import Arm as Arm
    from rrm.records import Case as Case
    from rrm.records import Correction as Correction
    from rrm.records import Demonstration as Demonstration
    from rrm.records import Exam as Exam
    from rrm.records import Exhibit as Exhibit
    from rrm.records import Feedback as Feedback
    from rrm.records import GateResult as GateResult
    from rrm.records import Item as Item
    from rrm.records import Mask as Mask
    from rrm.records import Preference as Preference
    from rrm.records import Query as Query
    from rrm.records import Ranking as Ranking
    from rrm.records import Rating as Rating
    from rrm.records import Record as Record
    from rrm.records import Response as Response
    from rrm.records import StepLabels as StepLabels
    from rrm.records import TermEdit as TermEdit
    from rrm.report import Report as Report
    from rrm.roles import Asking as Asking
    from rrm.roles import Assistant as Assistant
    from rrm.roles import Component as Component
    from rrm.roles import Evaluator as Evaluator
    from rrm.roles import GivenTerm as GivenTerm
    from rrm.roles import Judged as Judged
    from rrm.roles import OversightProtocol as OversightProtocol
    from rrm.roles import PolicyTrainer as PolicyTrainer
    from rrm.roles import RewardModel as RewardModel
    from rrm.roles import RewardTerm as RewardTerm
    from rrm.roles import RewardTrainer as RewardTrainer
    from rrm.roles import Scores as Scores
    from rrm.roles import Selection as Selection
    from rrm.roles import SoFar as SoFar
    from rrm.roles import Subtask as Subtask
    from rrm.roles import Task as Task
    from rrm.roles import Turn as Turn
    from rrm.roles import Wrapper as Wrapper
    from rrm.seed import Seed as Seed
    from rrm.store import Store as Store


def __getattr__(name: str) -> object:
    if name in _MODULE:
        return getattr(import_module(f"rrm.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'rrm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
