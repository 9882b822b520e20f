"""The application over a store, as a browser or a program meets it, in one process and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient

from tocsin.watch import auth
from tocsin.watch.app import create_app
from tocsin.watch.service import Service, Settings
from tocsin.watch.store import Store
from watched import LIB, HandClock, fever

PASSWORD = "correct horse battery"
ROLES = ("device", "nurse", "physician", "evaluator", "admin")


class House:
    """A running application with a token of each role, an account of each, and two patients."""

    def __init__(self, url: str, **options: Any) -> None:
        self.clock = HandClock()
        settings = Settings(demo=options.pop("demo", True))
        self.service = Service(Store.open(url, self.clock), lib=LIB, settings=settings)
        self.app = create_app(self.service, **options)
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.accounts: set[str] = set()
        with self.service.store.writing() as con:
            for role in ROLES:
                self.ids[role], self.tokens[role] = auth.create_token(con, self.clock, role)
            self.ids["bound"], self.tokens["bound"] = auth.create_token(
                con, self.clock, "nurse", patient_id="p1"
            )

    def ref(self, patient: str = "p1") -> str:
        """How addresses call a patient."""
        return self.service.store.ref_of(patient) or ""

    def client(self, token: str | None = None, **more: Any) -> TestClient:
        """A program, with a token or without."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return TestClient(
            self.app, headers=headers | more.pop("headers", {}), raise_server_exceptions=False,
            follow_redirects=False, **more,
        )  # fmt: skip

    def as_(self, role: str) -> TestClient:
        """A program with the token of a role."""
        return self.client(self.tokens[role])

    def account(self, role: str) -> str:
        """The name of the account of a role; made when it is first asked for, because hashing takes long."""
        name = f"{role[:2]}-account"
        if role not in self.accounts:
            with self.service.store.writing() as con:
                auth.create_account(con, self.clock, name, PASSWORD, role)
            self.accounts.add(role)
        return name

    def browser(self, role: str | None = None) -> TestClient:
        """A browser, signed in."""
        client = self.client(headers={"accept": "text/html"})
        if role:
            self.account(role)
            answer = client.post("/sign-in", data={"name": f"{role[:2]}-account", "password": PASSWORD})
            assert answer.status_code == 303
        return client


@contextmanager
def house(url: str, **options: Any) -> Iterator[House]:
    """An application that runs, with two patients who have a fever."""
    built = House(url, **options)
    with TestClient(built.app):
        sent = built.as_("device").post("/facts", json=[fever("p1", -1), fever("p2", -1)])
        assert sent.status_code == 200
        yield built
    built.service.store.close()


def csrf_of(page: str) -> str:
    """The token in a page's forms."""
    return page.split('name="csrf" value="')[1].split('"')[0]
