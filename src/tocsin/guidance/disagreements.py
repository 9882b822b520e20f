"""Where guidelines differ now. They are shown side by side; none is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.definitions.topic import Topic, topics
from tocsin.guidance.bedside import Bedside
from tocsin.guidance.whom import fitting

Said = dict[str, Any]
#: What is no guideline of its own and takes no position.
GENERAL = ("level-of-care", "refractory", "nci-2016")
#: Texts of what to avoid say so themselves.
STRENGTH = {"give": "", "consider": "consider: ", "may": "may: ", "avoid": ""}


def disagreements(bed: Bedside, actions: Sequence[Said], names: Sequence[str]) -> list[Said]:
    """What the guidelines in force say differently at this moment, and what is known to be disputed.

    A guideline in which nothing of the kind was found for its grade is a position too, unless the topic says
    that silence is none.
    """
    out: list[Said] = []
    asked = [item for item, *_ in fitting(bed, names) if item.id not in GENERAL]
    for topic in topics(bed.lib):
        if topic.classes and bed.therapy and not set(topic.classes) & set(bed.therapy_classes):
            continue
        grades = {item.id: int(bed.grades[item.scale]["grade"]) for item in asked if item.scale in bed.grades}
        here = [item for item in asked if grades.get(item.id) in topic.grades]
        if not here:
            continue
        read = [item.id for item in here if grades[item.id] in item.seen]
        positions = _compared(topic, read, actions)
        if positions:
            positions += [
                {
                    "guideline": item.id,
                    "says": "its text for this grade was not seen",
                    "source": list(item.source),
                    "status": item.status,
                    "now": True,
                }
                for item in here
                if item.id not in read
            ]
        positions += [
            {
                "guideline": each.who,
                "says": each.says,
                "source": list(each.source),
                "status": each.status,
                "now": False,
            }
            for each in topic.positions
        ]
        if positions:
            out.append({"topic": topic.title, "id": topic.id, "positions": positions, "status": topic.status})
    return out


def _compared(topic: Topic, names: Sequence[str], actions: Sequence[Said]) -> list[Said]:
    """What each guideline says on the topic now; empty where they all say the same.

    One whose text for this grade was not seen takes no position, and says so.
    """
    if not topic.kinds:
        return []
    said: dict[str, list[Said]] = {name: [] for name in names}
    for action in actions:
        if action["guideline"] in said and action["action"] in topic.kinds:
            said[action["guideline"]].append(action)
    if not topic.silence_counts:
        said = {name: each for name, each in said.items() if each}
    if len({_signature(each) for each in said.values()}) < 2:
        return []
    return [
        {
            "guideline": name,
            "says": "; ".join(map(_words, each)) or "nothing was found for this grade",
            "source": list(dict.fromkeys(key for action in each for key in action["source"])),
            "status": "memory" if any(action["status"] == "memory" for action in each) else "draft",
            "now": True,
        }
        for name, each in said.items()
    ]


def _signature(actions: Sequence[Said]) -> tuple[Any, ...]:
    return tuple(
        sorted(
            (each["strength"], each["drug"] or "", str(each["dose"]), str(each["every_hours"]))
            for each in actions
        )
    )


def _words(action: Said) -> str:
    dose = ""
    if action["dose"] is not None:
        every = " to ".join(f"{hours:g}" for hours in action["every_hours"])
        top = f" to {action['dose_high']:g}" if action["dose_high"] else ""
        dose = f" ({action['dose']:.5g}{top} {action['unit']}" + (f" every {every} h)" if every else ")")
    known = f" (if {', '.join(action['if_known'])})" if action["if_known"] else ""
    return f"{STRENGTH[action['strength']]}{action['text']}{dose}{known}"
