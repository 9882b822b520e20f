"""The newest vital signs as the board writes them: short, with their age, and struck once they are stale."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.definitions.load import Library
from tocsin.watch.board import Vital
from tocsin.watch.clock import HOUR
from tocsin.watch.newest import Newest, Reading

#: Devices as a ward abbreviates them.
DEVICES = {
    "room-air": "RA", "nasal-cannula": "NC", "blow-by": "blow-by", "simple-mask": "mask",
    "venturi-mask": "Venturi", "non-rebreather": "NRB", "high-flow-nasal-cannula": "HFNC", "cpap": "CPAP",
    "bipap": "BiPAP", "ventilator": "ventilator",
}  # fmt: skip


def vitals_of(newest: Newest, now: int, resting: frozenset[str], lib: Library) -> tuple[Vital, ...]:
    """Temperature, pressure, pulse, saturation with its oxygen, and ICE where charted.

    `resting` are the measures on which the grade rests: those are marked.
    """
    found = [
        _vital(newest, "temperature", "", _degrees, now, resting, lib),
        _pressure(newest, now, resting, lib),
        _vital(newest, "heart-rate", "HR", _whole, now, resting, lib),
        _vital(newest, "spo2", "SpO2", _percent, now, resting, lib),
        _oxygen(newest, now, resting, lib),
        _vital(newest, "ice-score", "ICE", _whole, now, resting, lib),
    ]
    always = ("temperature", "systolic-bp", "spo2")
    return tuple(each for each in found if each.at is not None or each.measure in always)


def _vital(
    newest: Newest,
    name: str,
    label: str,
    text: Callable[[Reading], str],
    now: int,
    resting: frozenset[str],
    lib: Library,
) -> Vital:
    reading = newest.readings.get(name)
    if reading is None:
        return Vital(name, label, "", None, True, False)
    said = _unusable(reading) or text(reading)
    return Vital(name, label, said, reading.time, stale(name, reading, now, lib), name in resting)


def stale(name: str, reading: Reading, now: int, lib: Library) -> bool:
    """Whether grading no longer counts a reading."""
    hold = lib.measure(name).hold_hours
    return hold is not None and now - reading.time >= hold * HOUR


def _pressure(newest: Newest, now: int, resting: frozenset[str], lib: Library) -> Vital:
    high, low, mean = (newest.readings.get(name) for name in ("systolic-bp", "diastolic-bp", "mean-bp"))
    marked = bool(resting & {"systolic-bp", "mean-bp", "diastolic-bp"})
    if high is None and mean is None:
        return Vital("systolic-bp", "BP", "", None, True, False)
    if high is not None and (mean is None or high.time >= mean.time):
        text = _unusable(high) or _whole(high)
        if low is not None and low.time == high.time and low.value is not None:
            text += f"/{_whole(low)}"
        return Vital("systolic-bp", "BP", text, high.time, stale("systolic-bp", high, now, lib), marked)
    assert mean is not None
    text = _unusable(mean) or _whole(mean)
    return Vital("systolic-bp", "MAP", text, mean.time, stale("mean-bp", mean, now, lib), marked)


def _oxygen(newest: Newest, now: int, resting: frozenset[str], lib: Library) -> Vital:
    device = newest.readings.get("oxygen-device")
    flow, share = newest.readings.get("oxygen-flow"), newest.readings.get("fio2")
    marked = bool(resting & {"oxygen-device", "oxygen-flow", "fio2"})
    if device is None:
        if flow is None:
            return Vital("oxygen-device", "", "", None, True, False)
        return Vital(
            "oxygen-device", "", f"{_short(flow)} L", flow.time, stale("oxygen-flow", flow, now, lib), marked
        )
    text = DEVICES.get(device.text or "", device.text or "?")
    if device.text != "room-air":
        if flow is not None and flow.time >= device.time - HOUR and flow.value is not None:
            text += f" {_short(flow)} L"
        elif share is not None and share.time >= device.time - HOUR and share.value is not None:
            text += f" {_short(share)}%"
    return Vital("oxygen-device", "", text, device.time, stale("oxygen-device", device, now, lib), marked)


def _unusable(reading: Reading) -> str:
    return "unreadable" if reading.text == "unusable" else ""


def _degrees(reading: Reading) -> str:
    return "?" if reading.value is None else f"{reading.value:.1f}°"


def _whole(reading: Reading) -> str:
    return "?" if reading.value is None else f"{reading.value:.0f}"


def _percent(reading: Reading) -> str:
    return "?" if reading.value is None else f"{reading.value:.0f}%"


def _short(reading: Reading) -> str:
    return "?" if reading.value is None else f"{reading.value:.3g}"
