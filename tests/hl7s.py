"""HL7 v2 for tests: messages (those of `hl7apy`, and by hand), a sender, and what an answer says."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.parser import parse_message

from tocsin.sources.codes import Codes
from tocsin.watch.hl7 import END, START, Address, Listener
from tocsin.watch.hl7_door import Door
from tocsin.watch.service import Service
from watched import HOUR, LIB, NOON

STRUCTURES = {"A02": "ADT_A02", "A03": "ADT_A03", "A08": "ADT_A01", "A11": "ADT_A09", "A40": "ADT_A39"}


def at(hours: float) -> str:
    """A time as HL7 writes it, `hours` after noon, with its offset."""
    return datetime.fromtimestamp((NOON + hours * HOUR) / 1e6, UTC).strftime("%Y%m%d%H%M%S+0000")


def made(event: str, number: str = "1", *, patient: str = "p1", when: float = 0, **more: str) -> str:
    """An admission message as `hl7apy` makes it, in its own order; `more` are fields (`pid_5`)."""
    structure = STRUCTURES.get(event, "ADT_A01")
    told = Message(structure, version="2.5.1", validation_level=VALIDATION_LEVEL.TOLERANT)
    told.msh.msh_3, told.msh.msh_4, told.msh.msh_5, told.msh.msh_6 = "ADT", "HOSP", "TOCSIN", "WARD"
    told.msh.msh_7, told.msh.msh_9 = at(when), f"ADT^{event}^{structure}"
    told.msh.msh_10, told.msh.msh_11 = number, "P"
    told.evn.evn_1, told.evn.evn_2 = event, at(when)
    where = told.add_group("ADT_A39_PATIENT") if structure == "ADT_A39" else told
    where.add_segment("PID").value = "PID|1"
    where.pid.pid_3 = f"{patient}^^^HOSP^MR"
    where.pid.pid_5 = more.pop("pid_5", "Example^Ada")
    if "mrg_1" in more:
        where.add_segment("MRG").mrg_1 = more.pop("mrg_1")
    if structure != "ADT_A39":
        where.add_segment("PV1").pv1_2 = "I"
    for name, value in more.items():
        setattr(getattr(where, name[:3]), name, value)
    return str(told.to_er7())


def obx(
    number: int, code: str, value: Any, unit: str = "", *, kind: str = "NM", status: str = "F",
    hours: float = -1, limits: str = "", sub: str = "", time: str | None = None,
) -> str:  # fmt: skip
    """One observation; a bare code is LOINC's."""
    asked = code if "^" in code else f"{code}^^LN"
    return (
        f"OBX|{number}|{kind}|{asked}|{sub}|{value}|{unit}|{limits}||||{status}|||"
        f"{at(hours) if time is None else time}"
    )


def oru(
    *rows: str, number: str = "1", patient: str = "p1", order: str = "F1", version: str = "2.5.1",
    sets: str = "", name: str = "", msh: str = "MSH|^~\\&|LAB|HOSP|TOCSIN|WARD",
) -> str:  # fmt: skip
    """An observation message by hand."""
    head = f"{msh}|{at(0)}||ORU^R01^ORU_R01|{number}|P|{version}||||||{sets}"
    pid = f"PID|1||{patient}^^^HOSP^MR||{name}"
    return "\r".join((head, pid, f"OBR|1||{order}|panel|||{at(-1)}", *rows, ""))


class Sender:
    """A connection that sends messages and waits for each answer."""

    def __init__(self, where: str, source: str = "127.0.0.1") -> None:
        host, _, port = where.rpartition(":")
        self.door = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
        self.buffer = b""

    def send(self, message: str | bytes) -> Answer:
        """A message in its frame; its answer."""
        self.raw(START + (message.encode() if isinstance(message, str) else message) + END)
        return self.answer()

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.door.sendall(data)

    def answer(self) -> Answer:
        """The next answer; raises `ConnectionError` where the other side hangs up first."""
        while END not in self.buffer:
            piece = self.door.recv(65_536)
            if not piece:
                raise ConnectionError("hung up")
            self.buffer += piece
        whole, _, self.buffer = self.buffer.partition(END)
        assert whole.startswith(START)
        return Answer(whole[1:])

    def close(self) -> None:
        """Hang up."""
        self.door.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Answer:
    """An acknowledgement; `hl7apy` has parsed it (in strict mode from 2.3.1, the first it can)."""

    def __init__(self, data: bytes) -> None:
        self.text = data.decode("utf-8", "replace")
        lines = self.text.split("\r")
        version = lines[0].split(lines[0][3])[11]
        strict = version not in ("2.1", "2.2", "2.3")
        msa = next(line for line in lines if line.startswith("MSA"))
        _, self.code, *rest = msa.split(lines[0][3])
        self.control = rest[0] if rest else ""
        if self.control and lines[0].startswith("MSH|^~\\&|"):
            level = VALIDATION_LEVEL.STRICT if strict else VALIDATION_LEVEL.TOLERANT
            parsed = parse_message(self.text, validation_level=level, find_groups=False)
            if strict:
                parsed.validate()
        self.said = rest[1] if len(rest) > 1 else ""
        self.errors = [line for line in lines if line.startswith("ERR")]

    def rows(self, severity: str = "E") -> list[int]:
        """The rows that ERR segments of 2.5 and later name."""
        found = [each.split("|") for each in self.errors]
        return [int(parts[2].split("^")[1]) for parts in found if parts[4] == severity]


@contextmanager
def listening(
    service: Service, *, allow: Sequence[str] = (), codes: Path | None = None, zone: str = "UTC",
    authority: str | None = None,
) -> Iterator[Listener]:  # fmt: skip
    """A listener on a free port before a running service."""
    door = Door(service, codes=Codes(LIB, codes), zone=zone, authority=authority)
    listener = Listener(door, Address.read("127.0.0.1:0", allow)).open()
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def mentions(text: str, *secrets: str) -> list[str]:
    """Those of `secrets` that a text holds."""
    return [each for each in secrets if re.search(re.escape(each), text)]
