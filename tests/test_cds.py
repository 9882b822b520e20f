"""CDS Hooks: a record system opens a chart and gets cards, from what is stored, what it sends, what it lets
be fetched; and what became of them is kept."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import sqlalchemy as sa

from cds_client import PATH, bundle, desk, fhir, given, granted, hook, ill, observation
from cds_schemas import CARDS, DISCOVERY
from tocsin.watch import approvals, audit
from tocsin.watch.roles import SYSTEM
from tocsin.watch.schema import audit as entries
from tocsin.watch.schema import cds_cards, facts, patients
from watched import fever

HOOKS = ("patient-view", "encounter-start")
FORMATS = jsonschema.FormatChecker()


def right(answer, schema=CARDS):
    """An answer of the shape that the specification gives it."""
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), schema)
    return answer.json()


@pytest.fixture
def ward(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path) as found:
        yield found


# --- discovery --------------------------------------------------------------------------------------------


def test_anybody_may_discover_the_services_also_from_a_browser(ward):
    answer = ward.web.get("/cds-services", headers={"origin": "https://anywhere.example"})
    told = right(answer, DISCOVERY)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert [each["hook"] for each in told["services"]] == list(HOOKS)
    assert {each["id"] for each in told["services"]} == {"crs"}
    assert set(told["services"][0]["prefetch"]) == set(ill())


def test_what_is_asked_for_keeps_to_the_searches_the_specification_recommends(ward):
    """ "Prefetch query restrictions": reads, searches by token and reference, `_count`, `_sort`."""
    for service in ward.web.get("/cds-services").json()["services"]:
        for template in service["prefetch"].values():
            kind, _, query = template.partition("?")
            names = {part.partition("=")[0] for part in query.split("&")} if query else set()
            assert names <= {"patient", "category", "code", "_count", "_sort"}
            assert re.fullmatch(r"[A-Z][A-Za-z]+(/\{\{context\.patientId\}\})?", kind)


def test_a_page_on_the_list_may_ask_from_a_browser_and_no_other(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, origins=["https://ehr.example"]) as ward:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        for path in (PATH, f"{PATH}/feedback"):
            ours = ward.web.options(path, headers={**asked, "origin": "https://ehr.example"})
            assert ours.status_code == 204
            assert ours.headers["access-control-allow-origin"] == "https://ehr.example"
            assert "Authorization" in ours.headers["access-control-allow-headers"]
            assert ours.headers["access-control-allow-methods"] == "POST"
            assert "access-control-allow-credentials" not in ours.headers
            theirs = ward.web.options(path, headers={**asked, "origin": "https://evil.example"})
            assert "access-control-allow-origin" not in theirs.headers
        answer = ward.post(hook(prefetch=ill()), headers={"origin": "https://ehr.example"})
        assert right(answer)["cards"]
        assert answer.headers["access-control-allow-origin"] == "https://ehr.example"
        refused = ward.post(hook(), headers={"origin": "https://ehr.example"}, token="x.y.z")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://ehr.example"


# --- full, partial and no prefetch ------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOOKS)
def test_what_is_sent_is_graded_and_not_stored(ward, name):
    (first, *_) = right(ward.post(hook(name, prefetch=ill())))["cards"]
    assert "grade 1" in first["summary"]
    assert "fever" in first["summary"]
    assert "Axicabtagene" in first["detail"]
    with ward.built.service.store.reading() as con:
        assert not con.execute(sa.select(facts).where(facts.c.patient_id == "ehr1")).first()
        assert not con.execute(sa.select(patients).where(patients.c.patient_id == "ehr1")).first()
        (kept,) = con.execute(sa.select(cds_cards).where(cds_cards.c.uuid == first["uuid"])).all()
    assert (kept.patient_id, kept.grade, kept.hook) == (None, 1, name)


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("sent", [(), ("patient", "medications"), ("vital-signs",), tuple(ill())])
def test_what_was_not_sent_is_fetched_and_the_answer_is_the_same(tmp_path, name, sent):
    whole, url = ill(), f"sqlite:///{tmp_path}/w.db"
    with fhir(whole) as server, desk(url, tmp_path, fhir_servers=[server.base]) as ward:
        prefetch = {key: whole[key] for key in sent}
        fetched = right(ward.post(hook(name, prefetch=prefetch or None, **granted(server.base))))["cards"]
        given_all = right(ward.post(hook(name, prefetch=whole)))["cards"]
    assert [(each["summary"], each["detail"]) for each in fetched] == [
        (each["summary"], each["detail"]) for each in given_all
    ]
    assert len(server.asked) == len(whole) - len(sent)
    assert set(server.tokens) <= {"Bearer opaque-token"}


def test_further_pages_are_fetched_from_the_same_server(tmp_path):
    whole = ill()
    late = observation("systolic-bp", -1.5, 80), observation("systolic-bp", -1.4, 80)
    with fhir({**whole, "page": bundle(*late)}) as server:
        whole["vital-signs"]["link"] = [{"relation": "next", "url": f"{server.base}/Observation?page=2"}]
        with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as ward:
            (both,) = [each for each in ward.cards(hook(**granted(server.base))) if "CRS" in each["summary"]]
            sent = ward.cards(hook(prefetch=whole, **granted(server.base)))
            alone = ward.cards(hook(prefetch=whole))
    assert both["summary"] == sent[0]["summary"]
    assert "grade 2" in both["summary"] or "grade 3" in both["summary"]
    assert "grade 1" in alone[0]["summary"]
    assert "Only the newest came of: vital signs" in alone[0]["detail"]


def test_without_vital_signs_or_drugs_nothing_is_said_of_somebody_unknown(ward):
    """412, as the specification says; no drug sent must not read as no drug given."""
    for lost in ("vital-signs", "medications"):
        sent = {key: value for key, value in ill().items() if key != lost}
        answer = ward.post(hook(prefetch=sent))
        assert answer.status_code == 412
        assert lost in answer.json()["why"]
    assert ward.post(hook()).status_code == 412
    failed = {**ill(), "medications": {"resourceType": "OperationOutcome", "issue": []}}
    assert ward.post(hook(prefetch=failed)).status_code == 412


def test_what_else_was_not_sent_is_named(ward):
    sent = {key: value for key, value in ill().items() if key not in ("laboratory", "devices")}
    (first, *_) = ward.cards(hook(prefetch=sent))
    assert "Not sent: laboratory results, devices." in first["detail"]


def test_a_server_that_fails_is_as_one_that_was_not_asked(tmp_path):
    whole = ill()
    with fhir(whole) as server:
        server.wrong["laboratory"] = lambda handler: server.send(handler, 500, b"{}")
        server.wrong["devices"] = lambda handler: server.send(handler, 200, b"no json")
        with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as ward:
            (first, *_) = ward.cards(hook(**granted(server.base)))
            assert "Not sent: laboratory results, devices." in first["detail"]
            server.wrong["vital-signs"] = lambda handler: server.send(handler, 401, b"{}")
            assert ward.post(hook(**granted(server.base))).status_code == 412


# --- the patient's own facts ------------------------------------------------------------------------------


def test_stored_facts_and_those_sent_are_graded_together(store_url, tmp_path):
    with desk(store_url, tmp_path) as ward:
        rows = [
            fever("p9", -3),
            {**fever("p9", -40), "measure": "axicabtagene-ciloleucel", "unit": None, "value": None},
        ]
        ward.built.as_("device").post(
            "/facts", json=[{k: v for k, v in row.items() if v is not None} for row in rows]
        )
        (alone,) = [each for each in ward.cards(hook(patient="p9")) if "CRS" in each["summary"]]
        assert "grade 1" in alone["summary"]
        low = [observation("systolic-bp", hours, 80, "p9") for hours in (-2, -1.9)]
        oxygen = [observation("spo2", -2, 97, "p9")]
        (both, *_) = ward.cards(hook(patient="p9", prefetch={"vital-signs": bundle(*low, *oxygen)}))
        assert "grade 2" in both["summary"]
        assert "charted in Tocsin" in both["detail"]
        page = [each for each in both["links"] if each["type"] == "absolute"]
        assert page == [
            {
                "label": "Open in Tocsin",
                "url": f"https://tocsin.example/patient/{ward.built.ref('p9')}",
                "type": "absolute",
            }
        ]
        # nothing of what was sent stays
        (again,) = [each for each in ward.cards(hook(patient="p9")) if "CRS" in each["summary"]]
        assert again["summary"] == alone["summary"]


def test_a_merged_record_is_that_of_its_person(ward):
    built = ward.built
    assert built.as_("nurse").put("/patients", json={"patient_id": "other"}).status_code == 200
    built.as_("physician").post(f"/patients/{built.ref('other')}/merge", json={"into": built.ref("p1")})
    (card, *_) = ward.cards(hook(patient="other"))
    assert "fever" in card["summary"]
    assert card["links"][0]["url"].endswith(built.ref("p1"))


def test_a_site_may_set_its_own_numbers_before_the_record_systems(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, patient_prefix="north-") as ward:
        assert ward.post(hook(patient="p1")).status_code == 412
        ward.built.as_("device").post("/facts", json=[fever("north-p1", -1)])
        assert ward.cards(hook(patient="p1"))


def test_two_persons_under_one_number_are_not_graded_as_one(ward):
    ward.built.as_("nurse").put("/patients", json={"patient_id": "p1", "birth_date": "1950-01-01"})
    other = {"resourceType": "Patient", "id": "p1", "birthDate": "1971-02-03"}
    vitals = bundle(observation("temperature", -1, 39.0, "p1"))
    (card,) = ward.cards(hook(patient="p1", prefetch={"patient": other, "vital-signs": vitals}))
    assert "Not graded" in card["summary"]
    same = {**other, "birthDate": "1950-01-01"}
    (card, *_) = ward.cards(hook(patient="p1", prefetch={"patient": same, "vital-signs": vitals}))
    assert "grade 1" in card["summary"]


def test_resources_about_somebody_else_are_left_out_and_counted(ward):
    sent = ill()
    mixed = [observation("systolic-bp", hours, 60, "somebody") for hours in (-1, -0.9)]
    device = observation("systolic-bp", -1, 60) | {"subject": {"reference": "Device/ehr1"}}
    sent["bedside"] = bundle(*mixed, device)
    (card, *_) = ward.cards(hook(prefetch=sent))
    assert "grade 1" in card["summary"]
    assert "left out: 3" in card["detail"]


# --- who gets a card --------------------------------------------------------------------------------------


def test_until_the_definitions_are_approved_clinicians_get_no_card(tmp_path):
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, demo=False) as ward:
        assert right(ward.post(hook(prefetch=ill()))) == {"cards": []}
        service = ward.built.service
        with service.store.writing() as con:
            scales = [(name, service.lib.scale(name).hash) for name in service.scales]
            approvals.approve(con, service.clock, SYSTEM, scales, "Dr A. Example")
        service.step()
        (card, *_) = ward.cards(hook(prefetch=ill()))
        assert " mg" not in card["detail"]


def test_a_patient_or_relative_gets_no_card(ward):
    for user in ("Patient/ehr1", "RelatedPerson/3"):
        asked = hook(prefetch=ill())
        asked["context"]["userId"] = user
        assert ward.cards(asked) == []


def test_a_fever_of_somebody_without_a_therapy_gets_no_card(ward):
    sent = {**ill(), "medications": None}
    assert ward.cards(hook(prefetch=sent)) == []


def test_the_well_get_no_card(ward):
    vitals = [
        observation(measure, hours, value)
        for hours in (-20, -3, -0.5)
        for measure, value in (("temperature", 36.8), ("systolic-bp", 120), ("spo2", 98))
    ]
    sent = {**ill(), "vital-signs": bundle(*vitals)}
    assert [each for each in ward.cards(hook(prefetch=sent)) if "CRS" in each["summary"]] == []


def test_how_urgent_a_card_is_follows_the_grade_and_what_is_not_ruled_out(ward):
    def indicator(*resources, drugs=()):
        sent = {**ill(), "vital-signs": bundle(*resources)}
        sent["medications"] = bundle(given("axicabtagene-ciloleucel", -48), *drugs)
        found = [each for each in ward.cards(hook(prefetch=sent)) if "CRS" in each["summary"]]
        return found[0]["indicator"] if found else None

    hot = observation("temperature", -2, 39.1)
    fine = observation("systolic-bp", -2, 118), observation("spo2", -2, 97)
    assert indicator(hot, *fine) == "info"
    assert indicator(hot) == "warning"
    rate = {
        "dosage": {
            "rateQuantity": {
                "value": 0.1,
                "unit": "ug/kg/min",
                "system": "http://unitsofmeasure.org",
                "code": "ug/kg/min",
            }
        }
    }
    running = given("norepinephrine", -1, **rate) | {"status": "in-progress", "effectivePeriod": None}
    assert indicator(hot, *fine, drugs=[running]) == "critical"


def test_links_and_source_say_where_the_answer_comes_from(tmp_path):
    launch = "https://tocsin.example/launch"
    with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, launch=launch) as ward:
        (card, *_) = right(ward.post(hook(prefetch=ill())))["cards"]
        assert {"label": "Open Tocsin here", "url": launch, "type": "smart"} in card["links"]
        found = ward.built.service.lib.scale("astct-2019").hash
        assert found[:12] in card["source"]["label"]
        assert found in card["detail"]
        assert card["source"]["url"] == "https://docs.example/cds"
        assert "icon" not in card["source"]


# --- what is noted ----------------------------------------------------------------------------------------


def test_every_reading_is_noted_and_nothing_of_the_patient_is_logged(ward, caplog):
    ward.cards(hook(patient="p1", prefetch={"patient": {"resourceType": "Patient", "id": "p1"}}))
    ward.cards(hook(prefetch=ill()))
    with ward.built.service.store.reading() as con:
        rows = con.execute(sa.select(entries).where(entries.c.role == "cds").order_by(entries.c.seq)).all()
        assert audit.verify(con).whole
    assert [(row.actor, row.patient) for row in rows] == [
        ("Ward EHR: Practitioner/7", ward.built.ref("p1")), ("Ward EHR: Practitioner/7", None),
    ]  # fmt: skip
    assert not any("ehr1" in row.detail or "p1" in row.detail for row in rows)
    assert "ehr1" not in caplog.text


# --- feedback ---------------------------------------------------------------------------------------------


def entry(card, **more):
    """What became of a card."""
    return {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-03-10T12:01:00Z", **more}


def test_what_became_of_cards_is_kept_and_listed_for_the_evaluator(store_url, tmp_path):
    with desk(store_url, tmp_path) as ward:
        (card, *_) = ward.cards(hook(patient="p1"))
        reason = {
            "reason": {"code": "c", "system": "https://ehr.example/reasons"},
            "userComment": "Known; Dr. Ö <b>",
        }
        told = [
            entry(card["uuid"], overrideReason=reason),
            {**entry(card["uuid"]), "outcome": "accepted", "acceptedSuggestions": [{"id": "s1"}]},
        ]
        path = f"{PATH}/feedback"
        assert ward.post({"feedback": told}, path).json() == {"stored": 2, "duplicates": 0}
        assert ward.post({"feedback": told}, path).json() == {"stored": 0, "duplicates": 2}
        listed = ward.built.as_("evaluator").get("/cds-feedback").json()["feedback"]
        first, second = listed
        assert (first["outcome"], first["comment"], first["code"]) == ("overridden", "Known; Dr. Ö <b>", "c")
        assert (second["outcome"], second["accepted"]) == ("accepted", ["s1"])
        assert (first["grade"], first["scale"], first["ref"]) == (1, "astct-2019", ward.built.ref("p1"))
        assert ward.built.as_("evaluator").get(f"/cds-feedback?after={first['id']}&limit=1").json() == {
            "feedback": [second], "more": False,
        }  # fmt: skip
        for role in ("nurse", "device", "physician", "admin"):
            assert ward.built.as_(role).get("/cds-feedback").status_code == 403
        from tocsin.watch.keeping import erase

        erase(ward.built.service.store, SYSTEM, "p1")
        assert ward.built.as_("evaluator").get("/cds-feedback").json()["feedback"] == []


def test_feedback_that_cannot_be_kept_is_said_entry_by_entry_and_costs_the_others_nothing(ward):
    (card, *_) = ward.cards(hook(patient="p1"))
    path = f"{PATH}/feedback"
    bad = [
        entry("11111111-1111-1111-1111-111111111111"), entry(card["uuid"], outcome="ignored"),
        entry(card["uuid"], outcomeTimestamp="yesterday"), "text", entry(card["uuid"], overrideReason=[1]),
        entry(card["uuid"], overrideReason={"userComment": "x" * 10_001}),
    ]  # fmt: skip
    answer = ward.post({"feedback": [*bad, entry(card["uuid"])]}, path)
    assert answer.status_code == 200
    assert answer.json()["stored"] == 1
    assert len(answer.json()["rejected"]) == len(bad)
    assert ward.post({"feedback": bad}, path).status_code == 400
    for body in ({}, {"feedback": []}, {"feedback": "x"}, [], b"{", b'{"feedback": [' + b"[" * 2000):
        assert ward.post(body, path).status_code == 400


def test_a_comment_of_any_length_that_is_taken_is_kept_whole(ward):
    (card, *_) = ward.cards(hook(patient="p1"))
    comment = "ä" * 10_000
    ward.post(
        {"feedback": [entry(card["uuid"], overrideReason={"userComment": comment})]}, f"{PATH}/feedback"
    )
    (row,) = ward.built.as_("evaluator").get("/cds-feedback").json()["feedback"]
    assert row["comment"] == comment


def test_a_backup_holds_cards_and_feedback(ward, tmp_path):
    from tocsin.watch.keeping import backup, restore
    from tocsin.watch.store import Store

    (card, *_) = ward.cards(hook(patient="p1"))
    ward.post({"feedback": [entry(card["uuid"])]}, f"{PATH}/feedback")
    backup(ward.built.service.store, tmp_path / "b")
    other = Store.open(f"sqlite:///{tmp_path}/other.db")
    counts = restore(tmp_path / "b", other)
    other.close()
    assert (counts["cds_feedback"], counts["cds_cards"] >= 1) == (1, True)
    assert "cds_seen" not in counts


def test_what_is_about_nobody_here_goes_with_retention(ward):
    from tocsin.watch.keeping import retain

    (card, *_) = ward.cards(hook(prefetch=ill()))
    ward.post({"feedback": [entry(card["uuid"])]}, f"{PATH}/feedback")
    store = ward.built.service.store
    retain(store, SYSTEM, store.clock.now() - 1)
    assert len(ward.built.as_("evaluator").get("/cds-feedback").json()["feedback"]) == 1
    retain(store, SYSTEM, store.clock.now() + 1)
    assert ward.built.as_("evaluator").get("/cds-feedback").json()["feedback"] == []
    with store.reading() as con:
        assert not con.execute(sa.select(cds_cards)).first()


def test_the_answer_holds_no_null(ward):
    text = ward.post(hook(prefetch=ill())).text + ward.web.get("/cds-services").text
    assert "null" not in text
    assert json.loads(ward.post(hook(prefetch=ill())).text)["cards"]
