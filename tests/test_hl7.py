"""HL7 v2 as a hospital's systems send it: what is taken, what is answered, and who may connect."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from hl7s import Sender, listening, made, mentions, obx, oru
from tocsin.watch import audit
from tocsin.watch.hl7 import Address
from tocsin.watch.people import Patient
from tocsin.watch.schema import audit as log
from tocsin.watch.schema import facts
from tocsin.watch.serve import ListenError
from watched import DEVICE, HandClock, fever, running

#: Those that `hl7apy` knows.
VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
FEVER = ("8310-5", "39.1", "Cel")


@pytest.fixture
def service(store_url):
    with running(store_url) as held:
        yield held


@pytest.fixture
def sqlite(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db") as held:
        yield held


@pytest.fixture
def sender(sqlite):
    with listening(sqlite) as listener, Sender(listener.bound) as held:
        yield held


def values(service, patient="p1", measure="temperature"):
    """What is charted now, corrections done."""
    rows = service.facts_of(patient).to_pylist()
    return [row["value"] if row["text"] is None else row["text"] for row in rows if row["measure"] == measure]


def person(service, patient) -> Patient:
    service.people.refresh(force=True)
    return service.people.of[patient]


# --- observations ---------------------------------------------------------------------------------------


def test_an_observation_is_stored_graded_and_acknowledged(service):
    with listening(service) as listener, Sender(listener.bound) as sender:
        told = sender.send(oru(obx(1, *FEVER), number="m-7"))
        assert (told.code, told.control, told.errors) == ("AA", "m-7", [])
        assert service.standing("p1")["astct-2019"].grade == 1
        again = sender.send(oru(obx(1, *FEVER), number="m-8"))
        assert again.code == "AA"
        assert "0 stored; 1 known already" in again.said
    assert values(service) == [39.1]
    assert service.facts_of("p1")["source"].to_pylist() == [
        "hl7|HOSP|F1|8310-5^LN||2026-03-10T11:00:00+00:00"
    ]


def test_rows_that_cannot_be_taken_are_named_and_cost_the_others_nothing(sender, sqlite):
    told = sender.send(
        oru(
            obx(1, *FEVER),
            obx(2, "1988-5", "12", "mgs per something"),
            obx(3, "9999-5", "1"),
            obx(4, "8867-4", "9999", "/min"),
            obx(5, "2708-6", "abc", "%"),
            obx(6, "9279-1", "18", "/min", kind="ED"),
            obx(7, "9279-1", "18", "/min", time="20260310"),
            obx(8, "9279-1", "18", "/min", hours=3),
            obx(9, "9279-1", "", "/min", status=""),
            obx(10, "9279-1", "17~18", "/min"),
        )
    )
    assert told.code == "AE"
    assert told.rows() == [2, 4, 5, 6, 7, 8, 9, 10]
    assert "1 stored; 8 rejected; 1 left, with a code that nothing here names" in told.said
    assert "accepted: mg/L" in told.errors[0]
    assert values(sqlite) == [39.1]
    assert values(sqlite, measure="heart-rate") == ["unusable"]  # unknown then, and not absent


def test_a_row_that_was_refused_is_mended_by_sending_it_again(sender, sqlite):
    assert sender.send(oru(obx(1, "8867-4", "9999", "/min"))).code == "AE"
    assert sender.send(oru(obx(1, "8867-4", "99", "/min"))).code == "AA"
    assert values(sqlite, measure="heart-rate") == [99.0]


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("NM", "38.6", (38.6, None)),
        ("ST", " 38.6 ", (38.6, None)),
        ("TX", "> 38.6", (38.6, ">")),
        ("SN", ">^38.6", (38.6, ">")),
        ("SN", "<=^38.6", (38.6, "<")),
        ("SN", "^38.6", (38.6, None)),
    ],
)
def test_numbers_are_read_whatever_type_carries_them(sender, sqlite, kind, value, found):
    assert sender.send(oru(obx(1, "8310-5", value, "Cel", kind=kind))).code == "AA"
    (row,) = sqlite.facts_of("p1").to_pylist()
    assert (row["value"], row["text"]) == found


@pytest.mark.parametrize("value", ["^38^-^39", "<>^38", "^38^:^2", "^hot"])
def test_a_range_is_no_number(sender, sqlite, value):
    assert sender.send(oru(obx(1, "8310-5", value, "Cel", kind="SN"))).rows() == [1]
    assert values(sqlite) == ["unusable"]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("X^^99T", "426854004^High flow^SCT"),  # the question is unknown, the answer is not
        ("DEV^^99T", "426854004^anything^SCT"),
        ("DEV^^99T", "^HFNC"),
        ("DEV^^99T", "3^Optiflow^99H"),
    ],
)
def test_coded_answers_are_read_by_code_else_by_word(sqlite, tmp_path, code, value):
    (tmp_path / "codes.toml").write_text('[codes]\n"99T|DEV" = "oxygen-device"\n')
    with listening(sqlite, codes=tmp_path / "codes.toml") as listener, Sender(listener.bound) as sender:
        assert sender.send(oru(obx(1, code, value, kind="CWE"))).code == "AA"
    assert values(sqlite, measure="oxygen-device") == ["high-flow-nasal-cannula"]


def test_local_codes_units_and_limits(sqlite, tmp_path):
    (tmp_path / "codes.toml").write_text(
        '[codes]\n"L|WBC" = "wbc"\n"L|TMP" = { measure = "temperature", unit = "[degF]" }\n'
    )
    with listening(sqlite, codes=tmp_path / "codes.toml") as listener, Sender(listener.bound) as sender:
        told = sender.send(
            oru(obx(1, "WBC^white", "2", "10^9/L", limits="4.0 - 11"), obx(2, "TMP^t", "102.2"))
        )
        assert told.code == "AA"
    rows = {row["measure"]: row for row in sqlite.facts_of("p1").to_pylist()}
    assert (rows["wbc"]["value"], rows["wbc"]["ref_low"], rows["wbc"]["ref_high"]) == (2, 4, 11)
    assert rows["temperature"]["value"] == pytest.approx(39.0)


def test_no_value_of_a_drug_or_symptom_does_not_say_that_it_is_there(sqlite, tmp_path):
    (tmp_path / "codes.toml").write_text(
        '[codes]\n"L|CH" = "chills"\n"L|NE" = "norepinephrine"\n"L|H" = "headache"\n"L|N" = "nausea"\n'
    )
    with listening(sqlite, codes=tmp_path / "codes.toml") as listener, Sender(listener.bound) as sender:
        silent = obx(1, "CH^^L", "", kind="ST"), obx(2, "NE^^L", '""', "ug/kg/min")
        asked = obx(3, "H^^L", "N^No^HL70136", kind="CWE"), obx(4, "N^^L", "Y", kind="ST")
        told = sender.send(oru(*silent, *asked))
    assert told.rows() == [1, 2]
    assert "1 left, said to be absent" in told.said
    rows = [(row["measure"], row["text"]) for row in sqlite.facts_of("p1").to_pylist()]
    assert sorted(rows) == [("nausea", None), ("norepinephrine", "unusable")]


# --- versions of an observation -------------------------------------------------------------------------


def send_all(service, *told):
    """Statuses and values of one observation, in order; what is charted in the end."""
    with listening(service) as listener, Sender(listener.bound) as sender:
        for number, (status, value, *again) in enumerate(told, 1):
            row = obx(1, "8310-5", value, "Cel", status=status)
            assert sender.send(oru(row, number=str(again[0] if again else number))).code == "AA"
    return values(service)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([("P", "39")], [39]),
        ([("P", "39"), ("F", "38")], [38]),
        ([("P", "39"), ("P", "38.5"), ("F", "38")], [38]),
        ([("F", "38"), ("P", "39")], [38]),  # came late
        ([("F", "39"), ("C", "38")], [38]),
        ([("F", "39"), ("C", "38"), ("C", "37")], [37]),
        ([("F", "39"), ("C", "38"), ("C", "37"), ("C", "38", 2)], [37]),  # sent again
        ([("F", "39"), ("C", "38"), ("C", "37"), ("C", "38")], [38]),  # and corrected back
        ([("F", "39"), ("C", "38"), ("C", "38"), ("C", "37")], [37]),
        ([("F", "39"), ("C", "38"), ("F", "39", 1)], [38]),
        ([("P", "39"), ("C", "38"), ("F", "39")], [38]),
        ([("C", "38"), ("F", "39")], [38]),
        ([("F", "39"), ("W", "")], []),
        ([("P", "39"), ("D", "")], []),
        ([("F", "39"), ("C", "38"), ("W", "38"), ("W", "38")], []),
        ([("W", ""), ("F", "39")], []),  # the withdrawal overtook it
        ([("F", "39"), ("W", ""), ("F", "39")], []),  # sent again
        ([("F", "39"), ("W", ""), ("F", "38")], [38]),  # stated anew
        ([("F", "39"), ("W", ""), ("F", "38"), ("W", "", 2)], [38]),
        ([("F", "39"), ("W", ""), ("F", "38"), ("W", "")], []),
        ([("F", "39"), ("W", ""), ("F", "38"), ("F", "38")], [38]),
        ([("F", "39"), ("W", ""), ("C", "38")], [38]),
        ([("F", "39"), ("X", ""), ("I", ""), ("R", "35")], [39]),
    ],
)
def test_what_holds_after_corrections_and_withdrawals(sqlite, told, found):
    assert send_all(sqlite, *told) == found
    # the whole again changes nothing, whoever lost the answers
    assert send_all(sqlite, *told) == found


def test_a_correction_is_graded_at_once(service):
    assert send_all(service, ("F", "39.1"), ("C", "36.9")) == [36.9]
    assert service.standing("p1")["astct-2019"].grade == 0


def test_a_correction_of_what_could_not_be_read_lifts_its_mark(sqlite):
    with listening(sqlite) as listener, Sender(listener.bound) as sender:
        assert sender.send(oru(obx(1, "8310-5", "39", "Cel"))).code == "AA"
        assert sender.send(oru(obx(1, "8310-5", "390", "Cel", status="C"))).code == "AE"
        assert values(sqlite) == ["unusable"]
        assert sender.send(oru(obx(1, "8310-5", "38", "Cel", status="C"))).code == "AA"
    assert values(sqlite) == [38]


def test_two_readings_of_one_moment_are_told_apart_by_their_sub_id(sender, sqlite):
    sender.send(oru(obx(1, *FEVER, sub="1"), obx(2, "8310-5", "38.2", "Cel", sub="2")))
    sender.send(oru(obx(1, "8310-5", "37", "Cel", sub="2", status="C")))
    assert sorted(values(sqlite)) == [37, 39.1]


# --- times ----------------------------------------------------------------------------------------------


def test_times_without_an_offset_go_by_the_zone_of_the_ward(sqlite):
    with listening(sqlite, zone="Europe/Berlin") as listener, Sender(listener.bound) as sender:
        sender.send(oru(obx(1, *FEVER, time="202603101100"), obx(2, *FEVER, time="202603101100+0000")))
    assert [str(time) for time in sqlite.facts_of("p1")["time"].to_pylist()] == [
        "2026-03-10 10:00:00+00:00", "2026-03-10 11:00:00+00:00",
    ]  # fmt: skip


def test_the_time_of_the_order_holds_where_a_row_has_none(sender, sqlite):
    assert sender.send(oru(obx(1, *FEVER, time=""))).code == "AA"
    assert str(sqlite.facts_of("p1")["time"][0].as_py()) == "2026-03-10 11:00:00+00:00"


# --- patients -------------------------------------------------------------------------------------------


def test_a_stay_from_admission_to_merge_and_discharge(service):
    with listening(service) as listener, Sender(listener.bound) as sender:

        def told(event, number, **more):
            answer = sender.send(made(event, number, **more))
            assert (answer.code, answer.errors) == ("AA", [])

        told("A01", "1", when=-5, pid_7="19710203", pid_8="F", pv1_3="5W^12^1", pid_5="Mertens^Ada^B")
        first = person(service, "p1")
        assert (first.name, first.birth_date, first.sex) == ("Ada B Mertens", "1971-02-03", "female")
        assert (first.ward, first.bed, first.record_number) == ("5W", "12-1", "p1")
        told("A02", "2", when=-4, pv1_3="ICU^^7")
        assert (person(service, "p1").ward, person(service, "p1").bed) == ("ICU", "7")
        told("A08", "3", when=-3, pid_5="Mertens-Klein^Ada", pid_7="19710204")
        assert person(service, "p1").name == "Ada Mertens-Klein"
        sender.send(oru(obx(1, *FEVER), patient="old"))
        told("A40", "4", when=-1, mrg_1="old^^^HOSP^MR")
        assert person(service, "old").person == "p1"
        assert service.standing("p1")["astct-2019"].grade == 1
        ages = [row["value"] for row in service.facts_of("p1").to_pylist() if row["measure"] == "age"]
        assert ages == [pytest.approx(55.1, abs=0.05)]
        told("A40", "5", when=-1, mrg_1="old^^^HOSP^MR")  # again, and nothing more
        told("A03", "6")
        assert person(service, "p1").discharged is not None
        told("A08", "7", pid_5="Klein^Ada")  # an office mends the record
        assert person(service, "p1").name == "Ada Klein"
        assert person(service, "p1").discharged is not None
        told("A01", "8", pv1_3="5W^^3")
        assert person(service, "p1").discharged is None
        told("A11", "9")
        assert not service.people.watches("p1")
    with service.store.reading() as con:
        assert audit.verify(con).whole
        noted = con.execute(sa.select(log.c.actor, log.c.role, log.c.action)).all()
    assert {(who, role) for who, role, _ in noted if who != "system"} == {("hl7 127.0.0.1", "device")}
    assert {what for *_, what in noted} >= {"facts:add", "patient:put", "patient:merge", "patient:discharge"}


def test_merges_in_a_chain_and_the_other_way_round(sqlite):
    with listening(sqlite) as listener, Sender(listener.bound) as sender:
        for new, old in (("b", "a"), ("c", "b"), ("a", "c")):
            assert sender.send(made("A40", patient=new, mrg_1=f"{old}^^^HOSP^MR")).code == "AA"
        assert {person(sqlite, who).person for who in "abc"} == {"a"}
        assert sender.send(made("A40", patient="a", mrg_1="a^^^HOSP^MR")).code == "AE"


@pytest.mark.parametrize("event", ["A03", "A11"])
def test_somebody_who_was_never_here_goes_home_without_a_trace(sender, sqlite, event):
    told = sender.send(made(event))
    assert told.code == "AA"
    assert told.rows("I") == [1]
    assert not sqlite.people.of


def test_details_that_cannot_be_are_refused_and_nothing_changes(sender, sqlite):
    told = sender.send(made("A01", pid_5=f"{'x' * 130}^Ada"))
    assert told.code == "AE"
    assert not mentions(told.text, "xxx", "Ada")
    assert not sqlite.people.of


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("77^^^HOSP^MR", "77"),
        ("1^^^SSA^SS~77^^^HOSP^MR", "77"),
        ("5^^^HOSP^PI~77^^^HOSP^MR", "77"),
        ("77", "77"),
        ("77^^^HOSP&1.2.3&ISO^MR", "77"),
        ("1^^^SSA^SS", None),
        ("77^^^HOSP^MR~78^^^OTHER^MR", None),
        ("", None),
    ],
)
def test_whose_number_names_the_patient(sender, sqlite, field, found):
    told = sender.send(oru(obx(1, *FEVER)).replace("p1^^^HOSP^MR", field))
    assert told.code == ("AA" if found else "AE")
    assert list(sqlite.people.of or ()) in ([], [found]) or sqlite.facts_of(found).num_rows == 1


def test_an_authority_that_was_named_decides(sqlite):
    with listening(sqlite, authority="OTHER") as listener, Sender(listener.bound) as sender:
        both = oru(obx(1, *FEVER)).replace("p1^^^HOSP^MR", "77^^^HOSP^MR~78^^^OTHER^MR")
        assert sender.send(both).code == "AA"
        assert values(sqlite, "78") == [39.1]
        assert sender.send(oru(obx(1, *FEVER))).code == "AE"  # of another authority alone


def test_a_connection_may_not_judge(sqlite, tmp_path):
    (tmp_path / "codes.toml").write_text('[codes]\n"L|ATT" = "attribution"\n')
    sqlite.ingest([fever("p1", -1)], DEVICE)
    with listening(sqlite, codes=tmp_path / "codes.toml") as listener, Sender(listener.bound) as sender:
        told = sender.send(oru(obx(1, "ATT^^L", "fever=infection", kind="ST")))
    assert told.code == "AE"
    assert sqlite.standing("p1")["astct-2019"].grade == 1


# --- messages as a whole --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "becomes", "error"),
    [
        ("ORU^R01^ORU_R01", "ORM^O01", "200"),
        ("ORU^R01^ORU_R01", "ADT^A31", "201"),
        ("|1|P|", "||P|", "101"),
        ("|P|2.5.1", "|P|9.9", "203"),
        ("|P|2.5.1", "|P|", "203"),
        ("|P|2.5.1", "|T|2.5.1", "202"),
        ("|2.5.1||||||", "|2.5.1||||||KLINGON", "103"),
        ("MSH|^~\\&|", "MSH|^^\\&|", "100"),
        ("MSH|^~\\&|", "XYZ|^~\\&|", "100"),
        ("PID|", "MSH|^~\\&|", "100"),
        ("Cel", "C\x1cel", "102"),
    ],
)
def test_what_cannot_be_taken_at_all_is_rejected_and_the_connection_goes_on(sender, was, becomes, error):
    told = sender.send(oru(obx(1, *FEVER)).replace(was, becomes, 1))
    assert told.code == "AR"
    assert told.errors[0].split("|")[3].split("^")[0] == error
    assert sender.send(oru(obx(1, *FEVER), number="2")).code == "AA"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_answered_in_its_own_form(sender, version):
    told = sender.send(oru(obx(1, *FEVER), obx(2, "8867-4", "9999", "/min"), version=version))
    assert told.code == "AE"
    assert f"|P|{version}" in told.text
    assert "OBX^2^5" in told.text
    assert "impossible" in told.text


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_end_of_a_line_is_taken(sender, end):
    assert sender.send(oru(obx(1, *FEVER)).replace("\r", end)).code == "AA"


def test_other_separators_are_answered_in_them(sender):
    told = sender.send(oru(obx(1, *FEVER)).translate(str.maketrans("|^~\\&", "#@*!$")))
    assert told.code == "AA"
    assert told.text.startswith("MSH#@*!$#")


@pytest.mark.parametrize(
    ("sets", "codec", "warned"),
    [("UNICODE UTF-8", "utf-8", []), ("", "utf-8", []), ("8859/1", "latin-1", []), ("", "latin-1", [1])],
)
def test_names_keep_their_letters_in_every_character_set(sender, sqlite, sets, codec, warned):
    message = made("A01", pid_5="Øster^Åse").replace("|P|2.5.1", f"|P|2.5.1||||||{sets}")
    told = sender.send(message.encode(codec))
    assert told.code == "AA"
    assert told.rows("W") == warned
    assert person(sqlite, "p1").name == "Åse Øster"


def test_bytes_that_are_not_in_the_set_named_are_rejected(sender):
    message = made("A01", pid_5="Øster^Åse").replace("|P|2.5.1", "|P|2.5.1||||||UNICODE UTF-8")
    assert sender.send(message.encode("latin-1")).code == "AR"


@pytest.mark.parametrize(
    ("asked", "taken", "refused"),
    [
        ("", "AA", "AR"), ("NE|AL", "AA", "AR"), ("AL|NE", "CA", "CR"), ("ER|NE", None, "CR"),
        ("NE|NE", None, None),
    ],
)
def test_the_kind_of_answer_that_was_asked_for(sender, asked, taken, refused):
    whole = oru(obx(1, *FEVER)).replace("|2.5.1||||||", f"|2.5.1|||{asked}||" if asked else "|2.5.1||||||")
    for message, code in ((whole, taken), (whole.replace("ORU^R01", "ORU^R99"), refused)):
        if code:
            assert sender.send(message).code == code
        else:
            sender.raw(b"\x0b" + message.encode() + b"\x1c\r")
    assert sender.send(oru(number="last")).control == "last"  # and nothing stood before it


def test_nothing_about_anybody_leaves_by_an_answer_or_a_log(sender, caplog):
    secrets = ("p1", "Mertens", "19710203", "77.77", "a-secret-word", "secret-order")
    for message in (
        oru(
            obx(1, "8310-5", "77.77", "Cel"), obx(2, "8310-5", "a-secret-word", "Cel", kind="ST"),
            obx(3, "8310-5", "38", "a-secret-word"), obx(4, "8310-5", "38", time="77.77"),
            obx(5, "X", "426854004x^a-secret-word^SCT", kind="CE"), obx(6, "8310-5", "77.77"),
            order="secret-order", name="Mertens^Ada",
        ),
        made("A01", pid_5=f"Mertens{'x' * 150}", pid_7="19710203"),
        made("A40", mrg_1="p1^^^HOSP^MR", pid_5="Mertens"),
    ):  # fmt: skip
        assert not mentions(sender.send(message).text, *secrets)
    assert not mentions(caplog.text, *secrets)


# --- who may connect ------------------------------------------------------------------------------------


def test_an_address_that_is_not_listed_is_refused(sqlite, caplog):
    with listening(sqlite, allow=["127.0.0.9", "127.0.1.0/24"]) as listener:
        for source in ("127.0.0.9", "127.0.1.77"):
            with Sender(listener.bound, source) as sender:
                assert sender.send(oru(obx(1, *FEVER))).code == "AA"
        with Sender(listener.bound, "127.0.0.1") as sender, pytest.raises(ConnectionError):
            sender.send(oru(obx(1, *FEVER)))
    assert "127.0.0.1: may not connect; fix: --hl7-allow 127.0.0.1" in caplog.text


@pytest.mark.parametrize(
    ("where", "allow", "why"),
    [
        ("0.0.0.0:2575", [], "nobody is listed"),
        ("ward.example:2575", [], "nobody is listed"),
        ("[::]:2575", [], "nobody is listed"),
        ("2575", ["a.b.c"], "neither an address nor a network"),
        ("localhost", [], "no port"),
        ("localhost:99999", [], "no port"),
    ],
)
def test_an_address_that_would_let_anybody_in_is_refused_with_the_fix(where, allow, why):
    with pytest.raises(ListenError, match=why) as said:
        Address.read(where, allow)
    assert "fix:" in str(said.value)


def test_a_mapped_address_is_the_one_it_maps():
    assert Address.read("0.0.0.0:1", ["192.0.2.0/24"]).admits("::ffff:192.0.2.7")
    assert not Address.read("0.0.0.0:1", ["192.0.2.0/24"]).admits("192.0.3.7")
    assert not Address.read("1").admits("192.0.2.7")


def test_many_senders_at_once(service):
    """Twenty connections with twenty messages each: all answered, all stored, each once."""
    with listening(service) as listener:
        codes: list[str] = []

        def send(who):
            with Sender(listener.bound) as sender:
                for turn in range(20):
                    row = obx(1, "8310-5", "38.1", "Cel", hours=-5 + turn / 10)
                    codes.append(sender.send(oru(row, patient=f"q{who}", number=f"{who}-{turn}")).code)

        threads = [threading.Thread(target=send, args=(who,)) for who in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert codes == ["AA"] * 400
    with service.store.reading() as con:
        assert con.execute(sa.select(sa.func.count()).select_from(facts)).scalar_one() == 400


def test_a_store_that_is_gone_is_not_acknowledged(sqlite, monkeypatch):
    """No answer, so that it is sent again; and then it is stored once."""
    with listening(sqlite) as listener:

        def broken(*_):
            raise sa.exc.OperationalError("select", {}, Exception("gone"))

        with monkeypatch.context() as patch:
            patch.setattr(sqlite.writer, "_store", broken)
            with Sender(listener.bound) as sender, pytest.raises(ConnectionError):
                sender.send(oru(obx(1, *FEVER)))
        with Sender(listener.bound) as sender:
            assert sender.send(oru(obx(1, *FEVER))).code == "AA"
    assert values(sqlite) == [39.1]


def test_ending_takes_what_is_under_way_and_lets_the_silent_go(tmp_path):
    with running(f"sqlite:///{tmp_path}/w.db", HandClock()) as service, listening(service) as listener:
        silent, busy = Sender(listener.bound), Sender(listener.bound)
        assert silent.send(oru(number="1")).code == "AA"
        busy.raw(b"\x0b" + oru(*(obx(n, *FEVER, hours=-n / 100) for n in range(1, 400))).encode() + b"\x1c\r")
        time.sleep(0.05)
        began = time.monotonic()
        listener.stop()
        assert time.monotonic() - began < 4
        assert busy.answer().code == "AA"
        with pytest.raises(ConnectionError):
            silent.answer()
        assert len(values(service)) == 399
