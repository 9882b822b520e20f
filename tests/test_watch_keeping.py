"""Keeping: what a backup holds comes back the same on either database; whoever is erased is gone."""

from __future__ import annotations

import errno
import gzip
import random
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tocsin.cli.front import cli
from tocsin.watch import audit, auth, keeping, people
from tocsin.watch.roles import Actor
from tocsin.watch.schema import alerts, facts, metadata, patients, settings, tokens
from tocsin.watch.store import Store
from watched import DEVICE, HOUR, NOON, NURSE, HandClock, fact, fever, fresh_postgres, running

OFFICER = Actor("officer", "admin")
DAY = 24 * HOUR
TOCSIN = Path(sys.executable).with_name("tocsin")


@contextmanager
def opened(url):
    with closing(Store.open(str(url), HandClock())) as store:
        yield store


def fill(url):
    """A ward: two persons, one of them under two ids; alerts, an account, tokens, something asked for."""
    with running(url) as service:
        service.ingest([fever("p1", -3), fever("p1x", -2, 39.0), fever("p2", -1)], DEVICE)
        service.ingest([fact("p1", -2, "oxygen-flow", 4.0, "L/min", method="nasal-cannula")], DEVICE)
        service.set_patient(NURSE, "p1", name="Zoë Unmistakable", ward="5B", bed="12")
        service.set_patient(NURSE, "p2", name="Somebody Else")
        service.merge(Actor("d", "physician"), "p1x", "p1")
    with opened(url) as store, store.writing() as con:
        auth.create_account(con, store.clock, "ada", "a long enough pass phrase", "admin")
        auth.create_token(con, store.clock, "device", name="monitor")
        auth.create_token(con, store.clock, "device", name="own", patient_id="p1x")
        con.execute(settings.insert().values(name=f"asked:{store_ref(con, 'p1')}", value="1"))
        con.execute(alerts.delete())  # how many were raised by now depends on how long the service ran
        for who in ("p1", "p1x", "p2"):
            con.execute(
                alerts.insert().values(
                    key=f"k {who}", patient_id=who, kind="rise", role="nurse", shadow=True, raised=NOON
                )
            )


def store_ref(con, who):
    return con.execute(sa.select(patients.c.ref).where(patients.c.patient_id == who)).scalar_one()


def everything(store):
    """Every row of every table that a backup carries."""
    with store.reading() as con:
        return {
            name: sorted(tuple(row) for row in con.execute(sa.select(table)))
            for name, table in keeping.TABLES.items()
            if name not in keeping.LEFT
        }


def whole(store):
    with store.reading() as con:
        return audit.verify(con)


def count(store, table, *where):
    with store.reading() as con:
        return con.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one()


@pytest.fixture
def kept(store_url, tmp_path):
    """A filled store and a backup of it."""
    fill(store_url)
    with opened(store_url) as store:
        keeping.backup(store, tmp_path / "ward.backup")
        yield store, tmp_path / "ward.backup"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """Where a backup goes, on each kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    with fresh_postgres(request.getfixturevalue("postgres_url")) as url:
        yield url


# --- copies ---------------------------------------------------------------------------------------------


def test_every_table_is_carried_or_left_on_purpose():
    assert set(keeping.TABLES) == set(metadata.tables)
    assert keeping.LEFT == ("sessions", "invitations", "home_sessions", "cds_seen")


def test_a_backup_comes_back_the_same_on_either_database(kept, empty_url):
    """All four ways: SQLite and PostgreSQL, each into each. Restoring adds one entry to the audit log."""
    store, path = kept
    with opened(empty_url) as new:
        counts = keeping.restore(path, new)
        before, after = everything(store), everything(new)
        assert counts == {name: len(rows) for name, rows in before.items() if rows}
        added = after["audit"].pop()
        assert added[4] == "store:restore"
        heads = [dict(each.pop("settings")) for each in (before, after)]
        assert heads[0].pop(audit.HEAD) != heads[1].pop(audit.HEAD)
        assert heads[0] == heads[1]
        assert before == after
        assert whole(new).whole
    with running(empty_url) as one, running(str(store.engine.url.render_as_string(False))) as other:
        one.step(), other.step()
        for who in ("p1", "p2"):
            assert one.grades_of(who).equals(other.grades_of(who))
            assert one.grades_of(who).num_rows


def test_a_restored_store_goes_on_numbering_where_the_old_one_was(kept, empty_url):
    _, path = kept
    with opened(empty_url) as new:
        keeping.restore(path, new)
    with running(empty_url) as service:
        receipt = service.ingest([fever("p9", -0.5)], DEVICE)
        assert (receipt.stored, receipt.duplicates) == (1, 0)
        assert service.standing("p9")["astct-2019"].grade == 1


def test_a_backup_holds_one_moment_while_facts_come_in(store_url, tmp_path):
    fill(store_url)
    with running(store_url) as service:

        def meanwhile(name, _rows):
            if name == "settings":  # the first table: everything after it is still to be read
                service.ingest([fever("late", -0.2)], DEVICE)

        counts = keeping.backup(service.store, tmp_path / "w.backup", meanwhile)
        assert count(service.store, facts) == counts["facts"] + 1
    with opened(tmp_path / "new.db") as new:
        keeping.restore(tmp_path / "w.backup", new)
        assert count(new, patients, patients.c.patient_id == "late") == 0


def test_a_copy_of_everybody_leaves_an_entry_in_the_log(kept):
    store, path = kept
    with store.reading() as con:
        last = con.execute(sa.select(metadata.tables["audit"].c.action)).scalars().all()[-1]
    assert last == "store:backup"
    assert b"store:backup" in gzip.decompress(path.read_bytes())


def test_a_backup_is_for_its_owner_and_never_over_another(kept):
    store, path = kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = path.read_bytes()
    with pytest.raises(keeping.KeepingError, match="is there already"):
        keeping.backup(store, path)
    assert path.read_bytes() == told


def test_whoever_is_signed_in_and_open_invitations_are_not_carried(store_url, tmp_path):
    with opened(store_url) as store:
        with store.writing() as con:
            code = auth.invite(con, store.clock)
        keeping.backup(store, tmp_path / "w.backup")
    told = gzip.decompress((tmp_path / "w.backup").read_bytes()).decode()
    assert auth.digest(code) not in told
    assert '"invitations"' not in told


def test_a_full_disk_leaves_no_half_backup(kept, tmp_path, monkeypatch):
    store, _ = kept

    def full(_file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(keeping.KeepingError, match="No space left"):
        keeping.backup(store, tmp_path / "full.backup")
    assert not [path for path in tmp_path.iterdir() if "full.backup" in path.name]


def test_stopping_a_backup_leaves_no_half_backup(kept, tmp_path):
    store, _ = kept

    def stop(_name, _rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keeping.backup(store, tmp_path / "stopped.backup", stop)
    assert not [path for path in tmp_path.iterdir() if "stopped.backup" in path.name]


def test_only_an_empty_store_is_filled(kept):
    store, path = kept
    before = everything(store)
    with pytest.raises(keeping.KeepingError, match="not empty"):
        keeping.restore(path, store)
    assert everything(store) == before


def test_a_store_with_nothing_but_an_account_is_not_empty(kept, empty_url):
    _, path = kept
    with opened(empty_url) as new:
        with new.writing() as con:
            con.execute(metadata.tables["accounts"].insert().values(name="a", role="admin", created=NOON))
        with pytest.raises(keeping.KeepingError, match="not empty"):
            keeping.restore(path, new)


def lines(path):
    return [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def written(path, told):
    """The lines as a backup that has a right seal: somebody who knows how it is made."""
    body = b"".join(orjson.dumps(line) + b"\n" for line in told[:-1])
    last = orjson.dumps({**told[-1], "sha256": keeping.hashlib.sha256(body).hexdigest()}) + b"\n"
    path.write_bytes(gzip.compress(body + last))


def stays_empty(path, url, match):
    with opened(url) as new:
        with pytest.raises(keeping.KeepingError, match=match):
            keeping.restore(path, new)
        assert count(new, facts) == count(new, patients) == count(new, metadata.tables["audit"]) == 0


def test_a_damaged_backup_fills_nothing(kept, tmp_path):
    """Wherever a byte is wrong or the file breaks off."""
    _, path = kept
    good = path.read_bytes()
    rng = random.Random(1)
    for turn in range(12):
        where = rng.randrange(20, len(good) - 8)
        bad = (
            good[:where] if turn % 3 == 0 else good[:where] + bytes([good[where] ^ 0x55]) + good[where + 1 :]
        )
        (tmp_path / "bad").write_bytes(bad)
        stays_empty(tmp_path / "bad", tmp_path / "bad.db", "bad")


def test_a_changed_backup_fills_nothing(kept, tmp_path, empty_url):
    """One value changed in the text itself, packed anew."""
    _, path = kept
    text = gzip.decompress(path.read_bytes()).replace(b"38.6", b"36.6", 1)
    (tmp_path / "bad").write_bytes(gzip.compress(text))
    stays_empty(tmp_path / "bad", empty_url, "changed after it was written")


def test_a_backup_with_a_right_seal_and_a_rewritten_log_fills_nothing(kept, tmp_path, empty_url):
    _, path = kept
    told = lines(path)
    place = next(i for i, line in enumerate(told) if isinstance(line, list) and "patient:merge" in line)
    told[place][2] = "somebody else"
    written(tmp_path / "bad", told)
    stays_empty(tmp_path / "bad", empty_url, "audit log in it does not hold")


def test_sessions_cannot_be_brought_in_by_a_backup(kept, tmp_path, empty_url):
    _, path = kept
    told = lines(path)
    columns = list(metadata.tables["sessions"].columns.keys())
    session = ["0" * 64, "ada", "c", NOON, NOON, NOON + DAY]
    told[-1:-1] = [{"table": "sessions", "columns": columns}, session]
    told[-1]["counts"]["sessions"] = 1
    written(tmp_path / "bad", told)
    stays_empty(tmp_path / "bad", empty_url, "what no backup")


@pytest.mark.parametrize("text", [b"", b"no gzip at all", gzip.compress(b"{}\n"), gzip.compress(b"[1]\n")])
def test_what_is_no_backup_fills_nothing(tmp_path, text):
    (tmp_path / "x").write_bytes(text)
    stays_empty(tmp_path / "x", tmp_path / "x.db", "backup")


def test_a_backup_of_another_version_is_not_guessed_at(kept, tmp_path):
    _, path = kept
    told = lines(path)
    told[0]["schema"] = "9999"
    written(tmp_path / "bad", told)
    stays_empty(tmp_path / "bad", tmp_path / "bad.db", "another version")


# --- persons who go -------------------------------------------------------------------------------------


def test_an_erased_person_is_gone_under_every_id_and_others_stay(kept):
    store, _ = kept
    counts = keeping.erase(store, OFFICER, "p1x")  # either id of the person
    assert counts == {"facts": 3, "alerts": 2, "tokens": 1}
    for table in (facts, alerts, tokens, patients):
        assert count(store, table, table.c.patient_id.in_(["p1", "p1x"])) == 0
    assert count(store, settings, settings.c.name.startswith("asked:")) == 0
    assert count(store, facts) == count(store, patients) == count(store, alerts) == 1
    assert count(store, tokens) == 1


def test_the_audit_log_stays_whole_and_says_who_erased(kept):
    store, _ = kept
    with store.reading() as con:
        refs = {store_ref(con, "p1"), store_ref(con, "p1x")}
    before = whole(store)
    keeping.erase(store, OFFICER, "p1")
    after = whole(store)
    assert before.whole
    assert after.whole
    assert after.checked == before.checked + 2
    with store.reading() as con:
        assert audit.verify(con, before.head).whole  # nothing before it was touched
        log = metadata.tables["audit"]
        erased = con.execute(sa.select(log).where(log.c.action == "patient:erase")).all()
    assert {row.patient for row in erased} == refs
    assert {row.actor for row in erased} == {"officer"}


def test_after_erasure_facts_and_the_log_are_guarded_as_before(kept):
    """Nothing is lifted for an erasure, so nothing can be left lifted."""
    store, _ = kept
    keeping.erase(store, OFFICER, "p1")
    for statement in ("update facts set value = 1", "update audit set actor = 'x'", "delete from audit"):
        with pytest.raises(sa.exc.DBAPIError, match="only ever added"), store.writing() as con:
            con.execute(sa.text(statement))


def test_of_an_erased_person_no_byte_is_left_in_the_files(tmp_path):
    """SQLite: neither in the pages that became free nor in the journal."""
    fill(f"sqlite:///{tmp_path}/ward.db")

    def said():
        return b"".join(path.read_bytes() for path in tmp_path.glob("ward.db*"))

    with opened(tmp_path / "ward.db") as store:
        assert "Zoë Unmistakable".encode() in said()
        keeping.erase(store, OFFICER, "p1")
        assert "Zoë Unmistakable".encode() not in said()
        assert b"nasal-cannula" not in said()
        assert b"Somebody Else" in said()


def test_nobody_is_erased_by_a_wrong_id(kept):
    store, _ = kept
    before = everything(store)
    with pytest.raises(keeping.KeepingError, match="nobody is known"):
        keeping.erase(store, OFFICER, "p7")
    assert everything(store) == before


def test_an_erasure_that_breaks_off_erases_nothing(kept, monkeypatch):
    store, _ = kept
    before = everything(store)

    def gone(_con):
        raise KeyboardInterrupt

    monkeypatch.setattr(keeping, "forget", gone)
    with pytest.raises(KeyboardInterrupt):
        keeping.erase(store, OFFICER, "p1")
    assert everything(store) == before


def test_a_service_that_runs_drops_the_erased_and_keeps_watching(store_url):
    with running(store_url) as service, opened(store_url) as elsewhere:
        service.ingest([fever("p1", -2), fever("p2", -2)], DEVICE)
        keeping.erase(elsewhere, OFFICER, "p1")
        service.step()
        assert not service.standing("p1")
        assert [row.patient_id for row in service.board("astct-2019").rows] == ["p2"]
        service.ingest([fact("p2", -1, "oxygen-flow", 4.0, "L/min", method="nasal-cannula")], DEVICE)
        assert service.standing("p2")["astct-2019"].grade == 2


def test_numbers_of_erased_facts_are_not_given_again(store_url):
    """A service reads on from the last number it saw: a number given twice is a fact it never sees."""
    with running(store_url) as service, opened(store_url) as elsewhere:
        service.ingest([fever("p1", -3)], DEVICE)
        service.ingest([fever("p2", -2)], DEVICE)
        last = service.seq
        keeping.erase(elsewhere, OFFICER, "p2")
        service.step()
        service.ingest([fever("p3", -1)], DEVICE)
        assert service.seq > last
        assert service.standing("p3")["astct-2019"].grade == 1


def test_the_number_of_an_erased_alert_is_not_given_again(kept):
    """A page that was open meanwhile acknowledges by number: it must not be another patient's alert."""
    store, _ = kept
    row = {"patient_id": "p2", "kind": "rise", "role": "nurse", "shadow": True, "raised": NOON}
    with store.writing() as con:
        con.execute(alerts.insert().values(key="last", **{**row, "patient_id": "p1"}))
        last = con.execute(sa.select(sa.func.max(alerts.c.id))).scalar_one()
    keeping.erase(store, OFFICER, "p1")
    with store.writing() as con:
        con.execute(alerts.insert().values(key="next", **row))
        assert con.execute(sa.select(sa.func.max(alerts.c.id))).scalar_one() > last


def test_retention_takes_who_was_discharged_long_ago_and_nobody_else(store_url):
    with running(store_url) as service:
        service.ingest([fever(name, -1) for name in ("long-ago", "lately", "here", "back")], DEVICE)
        for name in ("long-ago", "back"):
            service.discharge(NURSE, name)
        service.store.clock.set(NOON + 300 * DAY)
        service.discharge(NURSE, "lately")
        service.set_patient(NURSE, "back", bed="3")  # taken up again
        service.store.clock.set(NOON + 400 * DAY)
        told = []
        done = keeping.retain(
            service.store, OFFICER, NOON + 35 * DAY, lambda name, number: told.append((name, number))
        )
        assert (done, told) == (1, [("persons", 1)])
        left = {"lately", "here", "back"}
        with service.store.reading() as con:
            assert set(con.execute(sa.select(patients.c.patient_id)).scalars()) == left
            assert set(con.execute(sa.select(facts.c.patient_id)).scalars()) == left
            assert people.generations(con)[1] == 1
        assert whole(service.store).whole


def test_retention_that_is_stopped_leaves_nobody_half_erased(store_url):
    with running(store_url) as service:
        service.ingest([fever(name, -1) for name in ("a", "b", "c")], DEVICE)
        for name in ("a", "b", "c"):
            service.discharge(NURSE, name)
        service.store.clock.set(NOON + DAY)

        def stop(_name, _number):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            keeping.retain(service.store, OFFICER, NOON + DAY, stop)
        assert count(service.store, patients) == count(service.store, facts) == 2
        assert keeping.retain(service.store, OFFICER, NOON + DAY) == 2
        assert whole(service.store).whole


# --- the commands ---------------------------------------------------------------------------------------


def run(*args, **more):
    return CliRunner().invoke(cli, list(map(str, args)), **more)


def test_the_commands_copy_erase_and_check(kept, empty_url):
    _, path = kept
    done = run("restore", path, "--db", empty_url)
    assert done.exit_code == 0, done.output
    assert run("audit", "verify", "--db", empty_url).exit_code == 0
    asked = run("erase", "--db", empty_url, "--patient", "p1", "--by", "Officer", input="n\n")
    assert asked.exit_code == 1
    assert "3 facts, 2 alerts, 1 tokens of this person go" in asked.output
    looked = run("erase", "--db", empty_url, "--patient", "p1", "--by", "Officer", "--dry-run")
    assert looked.output.startswith("would go: 3 facts")
    done = run("erase", "--db", empty_url, "--patient", "p1", "--by", "Officer", "--yes")
    assert (done.exit_code, done.output) == (0, "erased: 3 facts, 2 alerts, 1 tokens\n")
    assert run("erase", "--db", empty_url, "--patient", "p1", "--by", "Officer", "--yes").exit_code == 1
    assert run("audit", "verify", "--db", empty_url).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("backup", "out.backup"),
        ("erase", "--patient", "p1", "--by", "A", "--yes"),
        ("retain", "--discharged-before", "30d", "--by", "A", "--yes"),
        ("audit", "verify"),
        ("audit", "list"),
    ],
)
def test_a_store_that_is_not_there_is_neither_made_nor_copied(tmp_path, command, monkeypatch):
    """A mistyped path must not end in a backup that holds nobody, or in a log that is called whole."""
    monkeypatch.chdir(tmp_path)
    done = run(*command, "--db", "typo.db")
    assert done.exit_code == 1
    assert "no store is there" in done.output
    assert not list(tmp_path.iterdir())


def test_ctrl_c_stops_a_backup_with_nothing_left_behind(tmp_path):
    """The real process, stopped while it writes."""
    fill(f"sqlite:///{tmp_path}/ward.db")
    with opened(tmp_path / "ward.db") as store, store.writing() as con:
        (one,) = con.execute(sa.select(facts).limit(1)).mappings()
        for number in range(200_000 // 500):
            con.execute(
                facts.insert(),
                [{**one, "seq": None, "hash": f"{number}-{place}"} for place in range(500)],
            )
    folder = tmp_path / "out"
    folder.mkdir()
    command = [TOCSIN, "backup", folder / "w.backup", "--db", tmp_path / "ward.db"]
    # whoever runs the tests in the background has Ctrl-C ignored, and a child would inherit that
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        end = time.monotonic() + 30
        while not list(folder.iterdir()) and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "nothing half-written" in said
    assert not list(folder.iterdir())


# --- the hazard log -------------------------------------------------------------------------------------


def test_every_hazard_of_the_live_service_names_tests_that_exist():
    root = Path(__file__).resolve().parents[1]
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (root / "docs" / "safety.md").read_text("utf-8"))
    assert len(named) > 40
    for file, test in named:
        assert re.search(rf"^def {test}\(", (root / file).read_text("utf-8"), re.M), f"{file}::{test}"
