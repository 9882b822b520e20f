"""`tocsin watch`: the live service, its ward board and its doors."""

from __future__ import annotations

import logging
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.options import say, zone_of
from tocsin.definitions.load import library

if TYPE_CHECKING:
    from tocsin.watch.hl7 import Listener
    from tocsin.watch.serve import Listen, Server
    from tocsin.watch.service import Service
    from tocsin.watch.store import Store

STORE = "tocsin.db"
DB_HELP = "The store: a SQLite file, or postgresql://USER@HOST/NAME."


def seconds_of(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """`2s`, `10m`, `1h` as seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", value)
    if found is None:
        raise click.BadParameter("a time is written 30s, 10m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def maybe_zone(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A time zone that exists, or none."""
    return None if value is None else zone_of(context, option, value)


def dialled(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A telephone number as people dial it."""
    if value is not None and not re.fullmatch(r"\+?\d[\d ()-]{1,18}", value.strip()):
        raise click.BadParameter("a telephone number is written as 112 or +1 555 0100")
    return value and value.strip()


@click.command("watch")
@click.option("--db", metavar="URL", help=f"{DB_HELP} [default: {STORE}; a demonstration keeps nothing]")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8464, show_default=True, help="0 takes a free one."
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The certificate."
)
@click.option(
    "--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its private key."
)
@click.option("--behind-proxy", is_flag=True, help="A proxy on this machine has TLS and names the sender.")
@click.option(
    "--oidc", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The site's own sign-in."
)
@click.option(
    "--clients", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Record systems that may ask for cards (CDS Hooks) or tokens, or open pages (SMART).",
)  # fmt: skip
@click.option(
    "--scale", "scales", multiple=True, metavar="ID", help="Scales to watch. [default: ASTCT CRS, ICANS]"
)
@click.option(
    "--definitions", "folders", multiple=True, type=click.Path(path_type=Path), help="The site's shelves."
)
@click.option(
    "--timezone", default="UTC", show_default=True, callback=zone_of, help="Whose clock the ward goes by."
)
@click.option(
    "--codes", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="The site's own codes, as TOML.",
)
@click.option("--hl7", metavar="[HOST:]PORT", help="Listen for HL7 v2 (MLLP); the port is often 2575.")
@click.option(
    "--hl7-allow", multiple=True, metavar="ADDRESS[/BITS]",
    help="Who alone may send HL7 v2 (repeatable). [default: this machine]",
)
@click.option(
    "--hl7-time-zone", metavar="ZONE", callback=maybe_zone,
    help="Whose clock HL7 v2 times without an offset go by. [default: --timezone]",
)
@click.option(
    "--hl7-authority", metavar="NAME", help="Whose record numbers hold, where HL7 v2 senders give several."
)
@click.option(
    "--emergency-number", callback=dialled, metavar="NUMBER", help="For an ambulance, on the page at home."
)
@click.option("--demo", is_flag=True, help="A ward of simulated patients; says DEMO on every page.")
@click.option(
    "--speed", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="Of a demonstration."
)
@click.option("--for", "seconds", metavar="TIME", callback=seconds_of, help="End after 30s, 10m, 1h.")
def watch_command(
    db: str | None, host: str, port: int, tls_cert: Path | None, tls_key: Path | None, behind_proxy: bool,
    oidc: Path | None, clients: Path | None, scales: tuple[str, ...], folders: tuple[Path, ...],
    timezone: str, codes: Path | None, hl7: str | None, hl7_allow: tuple[str, ...],
    hl7_time_zone: str | None, hl7_authority: str | None, emergency_number: str | None, demo: bool,
    speed: float, seconds: float | None,
) -> None:  # fmt: skip
    """Watch a ward: facts come in, grades go out, people see who is getting worse, why, and what is due.

    Listens on this machine alone; anything else is refused without TLS. On an empty store it prints a code
    that makes the first account. Ends by Ctrl-C or SIGTERM; what it answered for is on the disk.

    \b
    Example:
        tocsin watch --demo --port 0 --for 3s
    """
    from tocsin.watch import launch_trust
    from tocsin.watch.app import create_app
    from tocsin.watch.cds_trust import Trust
    from tocsin.watch.oidc import Provider
    from tocsin.watch.serve import Listen, Server, free_port, run
    from tocsin.watch.service import SCALES, Service, Settings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    lib = library(folders)
    for name in scales:
        lib.scale(name)
    if demo and port_is_default():
        port = free_port(host, port)
    listen = Listen(host, port, tls_cert, tls_key, behind_proxy).checked()
    provider = Provider.read(oidc) if oidc else None
    trust = Trust.read(clients) if clients else None
    launches = launch_trust.read(clients) if clients else ()
    if demo and hl7:
        raise click.UsageError("--demo takes no HL7 v2: real patients would lie among simulated ones")
    with opened(db, demo, speed) as store:
        zone = None if timezone == "UTC" else timezone
        settings = Settings(demo=demo, time_zone=zone, emergency_number=emergency_number, codes=codes)
        service = Service(store, lib=lib, scales=scales or SCALES, settings=settings)
        code = secrets.token_urlsafe(9) if demo else None
        wards = interface(service, hl7, hl7_allow, hl7_time_zone or timezone, hl7_authority)
        app = create_app(
            service, secure=listen.secure, demo_code=code, oidc=provider, hosts=listen.hosts, cds=trust,
            hl7=wards, launches=launches,
        )
        server = Server(app, service, listen)
        # asked before it listens: a store that hangs must not hold up the loop that hears signals
        invited = None if demo else first_code(store)
        server.ready = lambda: began(server, service, listen, code, invited, wards)
        run(server, seconds=seconds)
    say("ended; everything that was answered for is stored" if not demo else "ended")


def port_is_default() -> bool:
    """Whether nobody asked for a port."""
    asked = click.get_current_context().get_parameter_source("port")
    return asked is click.core.ParameterSource.DEFAULT


@contextmanager
def opened(db: str | None, demo: bool, speed: float) -> Iterator[Store]:
    """The store; a demonstration's lies in a folder that goes with it."""
    from tocsin.watch.clock import Clock
    from tocsin.watch.store import Store

    with tempfile.TemporaryDirectory(prefix="tocsin-demo-") as folder:
        clock = Clock(speed=speed) if demo else Clock()
        where = db or (f"sqlite:///{folder}/demo.db" if demo else STORE)
        store = Store.open(where, clock)
        try:
            check_kind(store, demo)
            if demo:
                go_on(store, speed)
            yield store
        finally:
            store.close()


def go_on(store: Store, speed: float) -> None:
    """A demonstration that is opened again goes on where it was left: its clock had run ahead of ours."""
    from tocsin.watch.clock import Clock
    from tocsin.watch.demo import left_at

    if (left := left_at(store)) is not None:
        store.clock = Clock(start=left, speed=speed)


def check_kind(store: Store, demo: bool) -> None:
    """A store of simulated patients is never opened as a ward of real ones, nor the other way round."""
    import sqlalchemy as sa

    from tocsin.watch import remembered
    from tocsin.watch.schema import facts
    from tocsin.watch.store import StoreError

    with store.writing() as con:
        known = remembered.told(con, "demo")
        used = con.execute(sa.select(facts.c.seq).limit(1)).first() is not None
        if (known is None and demo and used) or (known is not None and not demo):
            raise StoreError(
                f"this store {'holds simulated' if known else 'may hold real'} patients\n"
                f"  why: {'a ward of' if known else 'a demonstration among'} them would be taken for real\n"
                "  fix: give --db another file"
            )
        if known is None and demo:
            remembered.say(con, "demo", "1")


def interface(
    service: Service, where: str | None, allow: tuple[str, ...], zone: str, authority: str | None
) -> Listener | None:
    """What listens for HL7 v2, where it was asked for; its port is taken already."""
    if where is None:
        if allow:
            raise click.UsageError("--hl7-allow needs --hl7 PORT")
        return None
    from tocsin.watch.hl7 import Address, Listener
    from tocsin.watch.hl7_door import Door

    address = Address.read(where, allow)
    door = Door(service, codes=service.codes, zone=zone, authority=authority)
    return Listener(door, address).open()


def began(
    server: Server, service: Service, listen: Listen, code: str | None, invited: str | None,
    wards: Listener | None,
) -> None:  # fmt: skip
    """Say where it listens, and how to come in."""
    address = listen.address(server.bound)
    if code is not None:
        say(f"A simulated ward, {service.clock.speed:g} times as fast as life. Nobody here is real.")
        click.echo(f"Open {address}/demo?code={code}")
        click.echo(f"Open {address}/home/demo?code={code}  (a simulated patient's own page; best on a phone)")
        feeder_of(service).start()
    else:
        click.echo(f"Watching. Open {address}")
        if wards is not None:
            click.echo(f"HL7 v2 is taken at {wards.bound}")
        if invited is not None:
            say(f"No account yet: open {address}/first-run, and give the code within 30 minutes:")
            click.echo(invited, err=True)
    say("Ctrl-C ends it.")


def feeder_of(service: Service) -> Any:
    """What brings a demonstration's facts: simulated patients, or the examples where there is no model."""
    from tocsin.watch import demo

    def beds() -> Iterator[demo.Bed]:
        from tocsin.cli.demo import examples_folder
        from tocsin.definitions.schema import TocsinError

        try:
            from tocsin.simulation.compiled import is_cached

            say(f"Simulating 18 patients{'' if is_cached() else ' (compiling takes half a minute, once)'}")
            yield from demo.simulated(service.lib)
        except (ImportError, TocsinError) as error:
            say(f"Nothing can be simulated here ({type(error).__name__}): the example patients come instead")
            yield from demo.examples(examples_folder(), service.lib)

    def after(bed: demo.Bed) -> demo.Bed:
        return demo.next_simulated(bed, service.lib) if bed.therapy else demo.next_example(bed)

    return demo.Feeder(service, beds(), after)


def first_code(store: Store) -> str | None:
    """A code for the first account, where there is none."""
    import sqlalchemy as sa

    from tocsin.watch import auth
    from tocsin.watch.schema import accounts

    with store.writing() as con:
        if con.execute(sa.select(accounts.c.name).limit(1)).first():
            return None
        return auth.invite(con, store.clock)
