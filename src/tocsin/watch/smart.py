"""SMART backend services: a program gets a short token of ours for a signed statement of who it is.

After "SMART App Launch 2", Backend Services: the client signs a JWT with its private key (`private_key_jwt`);
its public keys, and what its tokens may do, are fixed in the trust list (`tocsin watch --clients`).
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from tocsin.watch import auth, cds_feedback
from tocsin.watch.api import answered
from tocsin.watch.cds_trust import Client, UntrustedError, claimed
from tocsin.watch.clock import DAY, MINUTE
from tocsin.watch.fhir_says import base_of
from tocsin.watch.roles import PERMISSIONS
from tocsin.watch.schema import tokens

router = APIRouter(prefix="/fhir", include_in_schema=False)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN = "/fhir/auth/token"
#: How long a token is good; the specification asks for no more than five minutes.
LIFE = 5 * MINUTE
#: What tokens of the trust list are called.
NAMED = "SMART "
LONGEST = 20_000


@router.get("/.well-known/smart-configuration")
def configuration(request: Request) -> Response:
    """What a program needs to know to get a token; open to everybody."""
    trust = request.app.state.cds
    algorithms = sorted({name for each in trust.clients for name in each.algorithms}) if trust else []
    return answered({
        "token_endpoint": f"{base_of(request)}/auth/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": sorted({scope for role in PERMISSIONS for scope in scopes(role)}),
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
    }, 200, **{"Access-Control-Allow-Origin": "*"})  # fmt: skip


@router.post("/auth/token")
async def token(request: Request) -> Response:
    """A token for a client that says, signed, who it is."""
    if "form" not in request.headers.get("content-type", ""):
        return refused("invalid_request", "the body is a form")
    body = await request.body()
    return await run_in_threadpool(_token, request, body)


def _token(request: Request, body: bytes) -> Response:
    form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items() if len(values) == 1}
    if form.get("grant_type") != "client_credentials":
        return refused("unsupported_grant_type", "grant_type is client_credentials")
    if form.get("client_assertion_type") != ASSERTION or len(form.get("client_assertion", "")) > LONGEST:
        return refused("invalid_client", f"client_assertion_type is {ASSERTION}", 401)
    try:
        client = _client(request, form.get("client_assertion", ""))
    except UntrustedError as error:
        return refused("invalid_client", str(error).splitlines()[0], 401)
    granted = [each for each in scopes(client.role) if covers(form.get("scope", ""), each)]
    if not granted:
        return refused("invalid_scope", f"this client may have: {' '.join(scopes(client.role))}")
    service = request.app.state.service
    with service.store.writing() as con:
        old = service.clock.now() - DAY
        con.execute(tokens.delete().where(tokens.c.name.startswith(NAMED), tokens.c.expires < old))
        _, secret = auth.create_token(
            con, service.clock, client.role, name=f"{NAMED}{client.name}", days=LIFE / DAY
        )
    said = {
        "access_token": secret, "token_type": "bearer", "expires_in": LIFE // 1_000_000,
        "scope": " ".join(granted),
    }  # fmt: skip
    return answered(said)


def _client(request: Request, assertion: str) -> Client:
    """Whose statement this is. Raises `UntrustedError`."""
    trust = request.app.state.cds
    if trust is None:
        raise UntrustedError("there is no trust list")
    service = request.app.state.service

    def fresh(number: str, until: float) -> bool:
        return cds_feedback.fresh(service.store, number, until, time.time())

    client: Client = trust.admit(assertion, (TOKEN,), fresh)
    if not client.role:
        raise UntrustedError("the trust list gives it no `role`")
    if claimed(assertion).get("sub") != client.issuer:
        raise UntrustedError("its `sub` is not its `iss`")
    return client


def refused(error: str, why: str, status: int = 400) -> Response:
    """A refusal as OAuth says it (RFC 6749, section 5.2)."""
    return answered({"error": error, "error_description": why}, status)


def scopes(role: str) -> list[str]:
    """What tokens of a role may do, as SMART scopes.

    >>> scopes("device"), scopes("evaluator")
    (['system/*.cu'], ['system/*.rs'])
    """
    may = PERMISSIONS.get(role, frozenset())
    letters = ("cu" if "facts:write" in may else "") + ("rs" if "patients:read" in may else "")
    return [f"system/*.{letters}"] if letters else []


def covers(asked: str, scope: str) -> bool:
    """Whether some of the scopes asked for share a letter with one that may be granted; `read` and `write`
    are the letters of the first version.

    >>> covers("system/Observation.read openid", "system/*.curs"), covers("user/*.rs", "system/*.rs")
    (True, False)
    """
    may = set(scope.rpartition(".")[2])
    for each in asked.split():
        place, _, letters = each.partition("?")[0].rpartition(".")
        wanted = {"read": "rs", "write": "cud", "*": "cruds"}.get(letters, letters)
        if place.startswith("system/") and may & set(wanted):
            return True
    return False
