"""A patient at home before the application: invited by a nurse, signed in with link and code."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from fastapi.testclient import TestClient

from doors_watch import House

ENTRY = "entry-0001"


def invited(house: House, patient: str = "p1", **told: Any) -> dict[str, Any]:
    """An invitation, as a nurse gets it."""
    answer = house.as_("nurse").post(f"/patients/{house.ref(patient)}/home", json=told)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    found["path"] = urlsplit(found["link"]).path
    return found


def phone(house: House, patient: str = "p1", **told: Any) -> TestClient:
    """A phone that has come in."""
    made = invited(house, patient, **told)
    client = house.client(headers={"accept": "text/html"})
    assert client.post(made["path"], data={"code": made["code"]}).status_code == 303
    return client


def token(client: TestClient) -> str:
    """The token of the page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/home/entry").text)
    assert found
    return found[1]


def writes(client: TestClient, **told: Any) -> Any:
    """Send the form; the answer of the service to it."""
    fields = {"csrf": token(client), "entry": ENTRY, **told}
    return client.post(
        "/home/entry", data={name: value for name, value in fields.items() if value is not None}
    )


def answer_to(client: TestClient, **told: Any) -> str:
    """Send the form, and read the page it leads to."""
    sent = writes(client, **told)
    assert sent.status_code == 303, sent.text
    page = client.get(sent.headers["location"])
    assert page.status_code == 200
    return page.text


def verb(page: str) -> str:
    """The one thing an answer says to do."""
    found = re.search(r'<h1 class="verb">(.*?)</h1>', page, re.S)
    assert found, page
    return " ".join(re.sub(r"<[^>]+>", "", found[1]).split())
