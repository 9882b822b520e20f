"""What a hostile chart, server or request may try: nothing is fetched from elsewhere, nothing becomes markup,
nothing fails unforeseen."""

from __future__ import annotations

import json
import socket
import time

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_client import PATH, bundle, desk, fhir, granted, hook, ill, observation, written
from cds_client import given as drug
from cds_schemas import CARDS
from tocsin.watch import cds_fetch
from tocsin.watch.cds_cards import escaped
from tocsin.watch.cds_fetch import FetchError, get


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ward")
    with desk(f"sqlite:///{folder}/w.db", folder) as found:
        yield found


# --- where is fetched from --------------------------------------------------------------------------------


def elsewhere(base):
    """Addresses that look like the listed server and are not it."""
    port = base.rpartition(":")[2].partition("/")[0]
    return [
        f"http://127.0.0.1:{port}/other", f"http://localhost:{port}/fhir", f"https://127.0.0.1:{port}/fhir",
        f"http://u:p@127.0.0.1:{port}/fhir", f"http://127.0.0.1:{port}/fhir/../secret", f"{base}?x=",
        f"{base}#", f"{base}x", "http://169.254.169.254/latest", "http://[::1]:80/fhir", "file:///etc/passwd",
        f"http://127.0.0.1:{port}\\@evil.example/fhir", f"http://2130706433:{port}/fhir", f"http://0:{port}/fhir",
        base.upper(), f" {base}", f"{base}%2f..", "gopher://127.0.0.1", "", f"http://127.1:{port}/fhir",
    ]  # fmt: skip


def test_only_the_listed_server_is_asked_and_only_as_it_is_listed(tmp_path):
    whole = ill()
    with (
        fhir(whole) as server,
        desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web,
    ):
        for place in elsewhere(server.base):
            answer = web.post(hook(**granted(place)))
            assert answer.status_code in (400, 412), place
        assert server.asked == []
        assert web.cards(hook(**granted(f"{server.base}/")))
        assert server.asked


def test_without_a_token_to_fetch_with_nothing_is_fetched(tmp_path):
    with (
        fhir(ill()) as server,
        desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web,
    ):
        assert web.post(hook(fhirServer=server.base)).status_code == 412
        for token in ("a\r\nx: y", "", "ä", "a b", 5, None, "x" * 9_001):
            told = granted(server.base)
            told["fhirAuthorization"]["access_token"] = token
            assert web.post(hook(**told)).status_code == 400
        assert server.asked == []


def test_a_further_page_or_a_redirect_elsewhere_is_not_followed(tmp_path):
    with fhir({}) as trap, fhir(ill()) as server:
        with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web:
            for place in (
                trap.base, f"{server.base}/../secret", f"{server.base}/%2e%2e/secret", "//evil.example/x",
                f"{server.base.replace('127.0.0.1', 'localhost')}/x", "file:///etc/passwd", "javascript:1",
                f"http://u:p@{server.base.removeprefix('http://')}/x", f"{server.base}x/y", "/secret",
                f"{server.base}/x\r\nevil: 1", f"{server.base}/x y",
            ):  # fmt: skip
                sent = ill()
                sent["vital-signs"]["link"] = [{"relation": "next", "url": place}]
                before = len(server.asked)
                (card, *_) = web.cards(hook(prefetch=sent, **granted(server.base)))
                assert "Only the newest came of: vital signs" in card["detail"], place
                assert len(server.asked) == before, place
            for status in (301, 302, 303, 307, 308):
                server.wrong["laboratory"] = lambda handler, status=status: server.send(
                    handler, status, b"", Location=f"{trap.base}/Observation?x=1"
                )
                (card, *_) = web.cards(hook(**granted(server.base)))
                assert "Not sent: laboratory results" in card["detail"]
        assert trap.asked == []


def test_pages_without_end_come_to_an_end(tmp_path):
    with (
        fhir(ill()) as server,
        desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web,
    ):
        server.held["page"] = bundle(following=f"{server.base}/Observation?page=2")
        server.held["vital-signs"]["link"] = [
            {"relation": "next", "url": f"{server.base}/Observation?page=2"}
        ]
        (card, *_) = web.cards(hook(**granted(server.base)))
        assert "Only the newest came of: vital signs" in card["detail"]
        assert len([each for each in server.asked if "page=2" in each]) < 20


def test_a_server_that_drips_or_floods_costs_a_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tocsin.watch.cds_facts.PATIENCE", 1.0)

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 1_000_000)
        finally:
            handler.close_connection = True

    with (
        fhir(ill()) as server,
        desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web,
    ):
        server.wrong |= {"laboratory": drip, "devices": flood}
        began = time.monotonic()
        (card, *_) = web.cards(hook(**granted(server.base)))
        assert time.monotonic() - began < 5
        assert "Not sent: laboratory results, devices" in card["detail"]


@pytest.mark.parametrize(
    "place", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1"]
)
def test_a_name_that_means_this_machine_or_no_host_is_not_connected_to(monkeypatch, place):
    """A listed name whose owner points it inwards (DNS rebinding) reaches nothing."""
    family = socket.AF_INET6 if ":" in place else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (place, 80))]
    monkeypatch.setattr(cds_fetch.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(FetchError, match="means an address"):
        get("https://ehr.example/fhir", deadline=time.monotonic() + 2)


def test_proxies_of_the_environment_are_not_used(tmp_path, monkeypatch):
    with fhir({}) as trap, fhir(ill()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, trap.base)
        with desk(f"sqlite:///{tmp_path}/w.db", tmp_path, fhir_servers=[server.base]) as web:
            assert web.cards(hook(**granted(server.base)))
        assert (trap.asked, bool(server.asked)) == ([], True)


def test_an_answer_that_is_packed_breaks_off_or_is_too_large_is_no_answer():
    with fhir({}) as server:
        url = f"{server.base}/Patient/1"
        for send in (
            lambda handler: server.send(handler, 200, b"x", Content_Encoding="gzip"),
            lambda handler: server.send(handler, 206, b"{}"),
            lambda handler: server.send(handler, 200, b"x" * 2_000),
        ):
            server.wrong["patient"] = send
            with pytest.raises(FetchError):
                get(url, deadline=time.monotonic() + 3, largest=1_000)


# --- markup -----------------------------------------------------------------------------------------------

EVIL = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "![x](https://e.example/p)",
    "https://evil.example/phish", "www.evil.example", "a@evil.example", "`<b>`", "# grade 0", "\n\n# fine",
    "|a|b|\n|-|-|",
    "&lt;script&gt;", "<javascript:alert(1)>", "**fine**", "~~grade~~", "1. x", "- x", "> x", "\\<script>",
    "$x$", "{{x}}",
    "\u202egrade 0", "</detail><svg/onload=alert(1)>", "[^1]: x", "<!--", "]]>", "::: warning",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_a_text_shows_as_it_is_and_never_as_markup(text):
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(f"- {escaped(text)}")
    inside = html.removeprefix("<ul>\n<li>").removesuffix("</li>\n</ul>\n")
    assert "<" not in inside
    assert "\u202e" not in inside
    # a reader that takes it for HTML sees no tag either
    assert "<" not in escaped(text)


@given(st.text(max_size=60))
def test_no_text_at_all_becomes_markup(text):
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(f"- x{escaped(text)}")
    )
    assert html.count("<") == 4


@pytest.mark.parametrize("text", EVIL[:10])
def test_what_stands_in_a_chart_is_never_markup_on_a_card(ward, text):
    sent = ill()
    named = {"bodySite": {"text": text}, "method": {"text": text}, "note": [{"text": text}]}
    sent["vital-signs"]["entry"] = [
        {"resource": {**each["resource"], **named, "id": text}} for each in sent["vital-signs"]["entry"]
    ]
    sent["patient"]["name"] = [{"text": text}]
    sent["conditions"] = bundle({
        "resourceType": "Condition", "subject": {"reference": "Patient/ehr1"}, "code": {"text": text},
    })  # fmt: skip
    for card in ward.cards(hook(prefetch=sent)):
        html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(card["detail"])
        assert not any(tag in html for tag in ("<script", "<img", "<a ", "<svg", "<h1", "<table"))
        assert "evil" not in card["detail"]


# --- size, depth and form ---------------------------------------------------------------------------------


def test_a_prefetch_of_more_than_a_megabyte_is_read(ward):
    sent = ill()
    many = [observation("heart-rate", -300 + minute / 4, 80.0, id=f"o{minute}") for minute in range(4000)]
    sent["bedside"] = bundle(*many)
    body = json.dumps(hook(prefetch=sent)).encode()
    assert len(body) > 1_000_000
    answer = ward.post(body)
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), CARDS)


def test_a_body_beyond_all_measure_is_refused_and_a_large_one_of_nobody_unread(ward):
    assert ward.post(b" " * 21_000_000).status_code == 413
    assert ward.post(b" " * 300_000, token="x.y.z").status_code == 413
    sent = ill()
    sent["bedside"] = bundle(*[{"resourceType": "Basic"}] * 50_001)
    assert ward.post(hook(prefetch=sent)).status_code == 413
    assert ward.post(hook(prefetch=ill())).status_code == 200


def nested(depth):
    """A Bundle in a Bundle in a Bundle ..."""
    text = '{"resourceType":"Bundle","entry":[{"resource":' * depth + "{}" + "}]}" * depth
    head = '"hook":"patient-view","hookInstance":"1","context":{"userId":"Practitioner/1","patientId":"ehr1"}'
    return f'{{{head},"prefetch":{{"vital-signs":{text},"medications":null}}}}'


@pytest.mark.parametrize("depth", [10, 100, 200, 300, 5_000])
def test_deep_nesting_is_a_refusal_or_nothing_to_say(ward, depth):
    assert ward.post(nested(depth).encode()).status_code in (200, 400, 412)
    deep = f'{{"hook": {"[" * depth}{"]" * depth}}}'
    assert ward.post(deep.encode()).status_code == 400
    assert ward.post(hook(prefetch=ill())).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff\xfe", b'{"hook": "\xed\xa0\x80"}', b"{}",
        b'{"hook": null}',
        b'{"hook": "order-sign"}', json.dumps(hook("order-select")).encode(),
        json.dumps({**hook(), "context": None}).encode(), json.dumps({**hook(), "context": {}}).encode(),
        json.dumps({**hook(), "hookInstance": 5}).encode(), json.dumps({**hook(), "prefetch": []}).encode(),
        json.dumps(hook(patient="../../x")).encode(), json.dumps(hook(patient="a?b=c")).encode(),
        json.dumps(hook(patient="x" * 65)).encode(), json.dumps(hook(fhirAuthorization={"a": 1})).encode(),
        json.dumps({**hook("encounter-start"), "context": hook()["context"]}).encode(),
        json.dumps({**hook(), "context": {"userId": "somebody", "patientId": "1"}}).encode(),
    ],
)  # fmt: skip
def test_a_request_that_is_not_of_the_right_form_is_refused_with_the_reason(ward, body):
    answer = ward.post(body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"why", "fix"}


def test_a_reading_from_the_future_or_that_cannot_be_read_is_counted_and_leaves_the_rest(ward):
    sent = ill()
    future = observation("temperature", 300, 41.0)
    naive = observation("temperature", -1, 41.0, effectiveDateTime="2026-03-10T11:00:00")
    wrong = observation("temperature", -1, 41.0) | {"valueQuantity": "hot", "code": {"coding": "x"}}
    strange = observation("temperature", -1, 41.0, id={"a": 1})
    sent["bedside"] = bundle(future, naive, wrong, strange)
    (card, *_) = ward.cards(hook(prefetch=sent))
    assert "grade 1" in card["summary"]
    assert "Could not be read: " in card["detail"]


LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
)
WORDS = st.sampled_from([
    "resourceType", "entry", "resource", "link", "relation", "url", "next", "id", "subject", "reference",
    "code", "coding", "system", "status", "effectiveDateTime", "valueQuantity", "value", "unit", "component",
    "birthDate",
    "deceasedDateTime", "Patient/ehr1", "Bundle", "Observation", "Patient", "Condition", "final", "contained",
    "MedicationAdministration", "Procedure", "medicationReference", "http://loinc.org", "8310-5",
    "2026-03-10T11:00:00Z",
])  # fmt: skip
ANYTHING = st.recursive(
    LEAF | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=25,
)


def changed(tree, steps, leaf):
    """A request with one thing in it put to something else."""
    place = tree
    for step in steps:
        keys = (
            list(place)
            if isinstance(place, dict)
            else list(range(len(place)))
            if isinstance(place, list)
            else []
        )
        if not keys:
            break
        key = keys[step % len(keys)]
        if not isinstance(place[key], dict | list) or step % 5 == 0:
            place[key] = leaf
            break
        place = place[key]
    return tree


WHOLE = json.dumps(hook(prefetch=ill() | {
    "medications": bundle(
        drug("axicabtagene-ciloleucel", -48),
        drug("tocilizumab", -1, dosage={"dose": {"value": 560, "unit": "mg"}}),
    ),
    "bedside": bundle(
        observation("systolic-bp", -1, 80, component=[{"code": {"text": "x"}}], issued=written(-1))
    ),
}))  # fmt: skip
SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(ANYTHING)
def test_no_body_fails_unforeseen(ward, body):
    assert ward.post(json.dumps(body).encode()).status_code in (400, 412, 200)
    sent = dict.fromkeys(ill(), body)
    assert ward.post(json.dumps(hook(prefetch=sent)).encode()).status_code in (400, 412, 413, 200)


@SETTINGS
@given(st.lists(st.integers(0, 40), min_size=1, max_size=14), ANYTHING)
def test_no_change_to_a_good_request_fails_unforeseen(ward, steps, leaf):
    answer = ward.post(json.dumps(changed(json.loads(WHOLE), steps, leaf)).encode())
    assert answer.status_code in (200, 400, 412), answer.text
    if answer.status_code == 200:
        jsonschema.validate(answer.json(), CARDS)


@SETTINGS
@given(ANYTHING)
def test_no_feedback_fails_unforeseen(ward, body):
    path = f"{PATH}/feedback"
    assert ward.post(json.dumps({"feedback": body}).encode(), path).status_code == 400
    assert ward.post(json.dumps({"feedback": [body, body]}).encode(), path).status_code == 400
