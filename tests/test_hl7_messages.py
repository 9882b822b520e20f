"""The splitter and the listener with whatever bytes come: nothing ends them, nothing is half read."""

from __future__ import annotations

import socket
import time

import pytest
from hl7apy.parser import parse_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7s import Sender, listening, made, obx, oru
from tocsin.watch import hl7
from tocsin.watch.hl7_answers import Trouble, answer
from tocsin.watch.hl7_door import Door
from tocsin.watch.hl7_messages import Marks, MessageError, head_of, read
from tocsin.watch.hl7_times import instant
from wards import patiently
from watched import HandClock, running

GOOD = oru(obx(1, "8310-5", "39.1", "Cel"))
WHOLE = hl7.START + GOOD.encode() + hl7.END
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(f"sqlite:///{tmp_path_factory.mktemp('hl7')}/w.db", HandClock()) as held:
        yield held


@pytest.fixture(scope="module")
def listener(service):
    with listening(service) as held:
        yield held


def well(listener) -> bool:
    """Whether the next sender is answered."""
    with Sender(listener.bound) as sender:
        return sender.send(GOOD).code == "AA"


# --- the splitter ---------------------------------------------------------------------------------------


@given(TEXT)
def test_what_is_escaped_is_read_as_it_was(text):
    marks = Marks()
    assert marks.plain(marks.escaped(text)) == text


@given(TEXT, st.sampled_from(["|^~\\&", "#@*!$", "%:;=?"]))
def test_a_text_crosses_a_message_whatever_it_holds(text, signs):
    marks = Marks(signs[0], *signs[1:])
    lines = GOOD.translate(str.maketrans("|^~\\&", signs)).split("\r")
    lines.insert(2, f"NTE{signs[0]}1{signs[0]}{marks.escaped(text)}")
    note = list(read("\r".join(lines).encode()).segments())[2]
    assert note.text(2) == text.strip()


def test_escapes_are_read_once_and_what_is_none_stays():
    marks = Marks()
    assert marks.plain("\\E\\F\\E\\") == "\\F\\"
    assert marks.plain("\\XC3B8\\") == "ø"
    assert marks.plain("\\XC3\\ \\X1\\ \\Zlocal\\ \\") == "\\XC3\\ \\X1\\ \\Zlocal\\ \\"
    assert marks.plain("one\\.br\\two\\H\\three\\N\\") == "one twothree"


@pytest.mark.parametrize("event", ["A01", "A02", "A03", "A08", "A11", "A40"])
def test_fields_are_those_that_another_parser_sees(event):
    text = made(event, pid_5="Mertens^Ada~Klein^Ada", mrg_1="9^^^HOSP^MR")
    other = parse_message(text, find_groups=False)
    for segment in read(text.encode()).segments():
        theirs = getattr(other, segment.name.lower())
        seen = [number for number in range(3, 20) if segment.raw(number)]
        for number in seen:
            field = getattr(theirs, f"{segment.name.lower()}_{number}")
            assert segment.repetitions(number) == [each.to_er7() for each in field]
            said = [Marks().plain(part.to_er7()) for part in field[0].children if part.to_er7()]
            assert [part for part in segment.parts(number) if part] == said
        assert seen or segment.name in ("EVN", "PV1", "MRG")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_an_error_that_says_why(data):
    for each in (data, b"MSH|^~\\&|" + data, GOOD.encode()[:60] + data + GOOD.encode()[60:]):
        head_of(each)
        try:
            list(read(each).segments())
        except MessageError as wrong:
            said = str(wrong)
        else:
            said = "fix: none needed"
        assert "fix:" in said


@pytest.mark.parametrize(
    "text",
    [
        "2026", "20260310", "2026031011", "202613101100", "202602301100", "202603102500", "20260310110060",
        "202603101100+9999", "202603101100+01", "٢٠٢٦٠٣١٠١١٠٠", "yesterday", "",
        "00000101000000", "99991231235959-1200",
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_is_none(text):
    assert instant(text, "UTC") is None


def test_an_hour_that_a_clock_shows_twice_or_never():
    assert instant("202510260230", "Europe/Berlin").hour == 0  # the first of two
    assert instant("202603290230", "Europe/Berlin").hour == 1  # the end of the gap


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=80), TEXT)
def test_an_answer_is_a_message_whatever_is_echoed(troubles, said):
    head = head_of(GOOD.encode())
    told = [Trouble("OBX", 1, 5, 102, what, fix, about=about) for what, fix, about in troubles]
    text = answer(head, "AE", told, HandClock().moment(), said).decode()
    assert parse_message(text, find_groups=False).msa.msa_1.value == "AE"
    assert text.count("\r") == 2 + min(len(told), 50)


# --- the door -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_message_is_answered_and_never_breaks_the_door(service, data):
    """Any message with pieces cut out, put in twice or replaced by anything."""
    whole = bytearray(data.draw(st.sampled_from([GOOD, made("A01"), made("A40", mrg_1="9^^^H^MR")])).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole)))
        size = data.draw(st.integers(0, 30))
        piece = data.draw(st.one_of(st.binary(max_size=20), st.just(bytes(whole[at : at + 40]))))
        whole[at : at + size] = piece
    reply = Door(service).take(bytes(whole), "127.0.0.1")
    assert reply is None or b"MSA" in reply


# --- the listener ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.one_of(st.binary(max_size=50), st.sampled_from([hl7.START, hl7.END, WHOLE]))))
def test_no_bytes_end_the_listener(listener, pieces):
    with Sender(listener.bound) as sender:
        try:
            for piece in pieces:
                sender.raw(piece)
            sender.door.shutdown(socket.SHUT_WR)
            while sender.door.recv(65_536):
                pass
        except OSError:
            pass
    assert well(listener)


def test_messages_sent_without_waiting_are_answered_in_their_order(listener):
    with Sender(listener.bound) as sender:
        sender.raw(b"".join(WHOLE.replace(b"|1|P|", b"|%d|P|" % n) for n in range(30)))
        assert [sender.answer().control for _ in range(30)] == [str(n) for n in range(30)]


def test_a_message_in_pieces_is_taken(listener):
    with Sender(listener.bound) as sender:
        for place in range(0, len(WHOLE), 7):
            sender.raw(WHOLE[place : place + 7])
            time.sleep(0.001)
        assert sender.answer().code == "AA"


def test_a_sender_that_begins_anew_is_heard_from_there(listener):
    with Sender(listener.bound) as sender:
        sender.raw(WHOLE[:100] + WHOLE)
        assert sender.answer().code == "AA"


def test_two_messages_in_one_frame_are_refused_as_one(listener):
    with Sender(listener.bound) as sender:
        assert sender.send(GOOD + GOOD).code == "AR"


def test_a_message_that_never_ends_is_let_go_and_nobody_waits_for_it(listener, monkeypatch, caplog):
    monkeypatch.setattr(hl7, "SLOW", 0.3)
    with Sender(listener.bound) as slow:
        slow.raw(WHOLE[:-2])
        assert well(listener)
        with pytest.raises(ConnectionError):
            slow.answer()
    assert "too slowly, or without its end" in caplog.text


def test_a_message_that_is_cut_off_is_neither_stored_nor_answered(listener, service):
    before = service.seq
    with Sender(listener.bound) as sender:
        sender.raw(hl7.START + oru(obx(1, "8310-5", "38.7", "Cel"), patient="cut").encode())
        sender.door.shutdown(socket.SHUT_WR)
        assert sender.door.recv(100) == b""
    service.step()
    assert service.seq == before


def test_a_message_of_8_mb_is_taken_and_a_larger_one_is_refused_without_being_held(listener):
    long = GOOD + "NTE|1|" + "x" * 7_900_000
    with Sender(listener.bound) as sender:
        assert sender.send(long).code == "AA"
        told = sender.send(GOOD + "NTE|1|" + "x" * 8_000_000)
        assert (told.code, told.control) == ("AR", "1")
        with pytest.raises(ConnectionError):
            sender.answer()
    assert well(listener)
    assert listener.held == 0


def test_millions_of_segments_are_refused(listener):
    with Sender(listener.bound) as sender:
        assert sender.send(GOOD + "A\r" * 3_000_000).code == "AR"


def test_what_is_no_mllp_is_let_go(listener):
    with Sender(listener.bound) as sender:
        sender.raw(b"GET / HTTP/1.1\r\nHost: ward\r\n" + b"x" * 2_000)
        with pytest.raises(ConnectionError):
            sender.answer()


def test_who_does_not_read_its_answers_is_let_go(listener, monkeypatch):
    monkeypatch.setattr(hl7, "READING", 0.3)
    with Sender(listener.bound) as deaf:
        deaf.door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        deaf.door.settimeout(2)
        bad = hl7.START + GOOD.replace("ORU^R01", "ORM^O01").encode() + hl7.END
        with pytest.raises(OSError, match=r"timed out|reset|pipe"):
            deaf.raw(bad * 100_000)
        assert well(listener)


def test_one_connection_too_many_makes_the_longest_silent_go(listener, monkeypatch):
    monkeypatch.setattr(hl7, "CONNECTIONS", 3)
    patiently(lambda: not listener.lines)
    held = [Sender(listener.bound) for _ in range(3)]
    for each in held:
        assert each.send(GOOD).code == "AA"
    assert held[0].send(GOOD).code == "AA"  # so the second has been silent the longest
    with Sender(listener.bound) as late:
        assert late.send(GOOD).code == "AA"
        with pytest.raises(ConnectionError):
            held[1].answer()
        assert held[0].send(GOOD).code == "AA"
    [each.close() for each in held]
