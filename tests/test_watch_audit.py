"""The audit log: whatever is changed, taken out, moved or cut off shows; approvals stand by hash and name."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tocsin.cli.front import cli
from tocsin.definitions.load import library
from tocsin.watch import approvals, audit
from tocsin.watch.roles import ROLES, SYSTEM, Actor, may
from tocsin.watch.schema import audit as entries
from tocsin.watch.schema import settings
from tocsin.watch.store import Store
from watched import HandClock


@pytest.fixture
def kept(store_url):
    """A store with five entries, on each kind of database."""
    store = Store.open(store_url, HandClock())
    with store.writing() as con:
        for number in range(5):
            audit.note(con, store.clock, Actor("n", "nurse"), "patient:read", patient=f"r{number}")
    yield store
    store.close()


def unguarded(store):
    """As whoever holds the database's files, past the triggers."""
    con = store.engine.connect()
    if store.sqlite:
        for verb in ("update", "delete"):
            con.execute(sa.text(f"drop trigger audit_{verb}"))
    else:
        con.execute(sa.text("set session_replication_role = replica"))
    con.commit()
    return con


def verdict(store, expect=None):
    with store.reading() as con:
        return audit.verify(con, expect)


def test_an_untouched_log_is_whole(kept):
    found = verdict(kept)
    assert found.whole
    assert found.checked == found.head[0] == 5
    assert verdict(kept, found.head).whole


def test_an_empty_log_is_whole(tmp_path):
    store = Store.open(f"{tmp_path}/w.db", HandClock())
    assert verdict(store).whole
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "somebody else"}, {"role": "admin"}, {"action": "patient:erase"}, {"patient": "other"},
        {"detail": '{"part":"x"}'}, {"time": 1}, {"previous": "0" * 64}, {"hash": "f" * 64},
        {"patient": None},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_changed_entry_is_found_where_it_stands(kept, change):
    with unguarded(kept) as con:
        con.execute(entries.update().where(entries.c.seq == 3).values(**change))
        con.commit()
    found = verdict(kept)
    assert not found.whole
    assert found.broken == 3


def test_an_entry_taken_out_is_found(kept):
    with unguarded(kept) as con:
        con.execute(entries.delete().where(entries.c.seq == 3))
        con.commit()
    assert verdict(kept).broken == 3


def test_entries_that_changed_places_are_found(kept):
    with unguarded(kept) as con:
        for now, then in ((2, 99), (3, 2), (99, 3)):
            con.execute(entries.update().where(entries.c.seq == now).values(seq=then))
        con.commit()
    assert verdict(kept).broken == 2


def test_a_log_cut_off_at_its_end_is_found(kept):
    with unguarded(kept) as con:
        con.execute(entries.delete().where(entries.c.seq > 3))
        con.commit()
    assert "noted head" in verdict(kept).why


def test_a_log_cut_off_with_its_head_is_found_by_a_head_noted_elsewhere(kept):
    """Whoever writes the head as well is caught by what was written down outside the store."""
    noted = verdict(kept).head
    with unguarded(kept) as con:
        con.execute(entries.delete().where(entries.c.seq > 3))
        third = con.execute(sa.select(entries.c.hash).where(entries.c.seq == 3)).scalar()
        con.execute(settings.update().where(settings.c.name == audit.HEAD).values(value=f"3:{third}"))
        con.commit()
    assert verdict(kept).whole
    assert not verdict(kept, noted).whole


def test_a_log_written_anew_is_found_by_a_head_noted_elsewhere(kept):
    noted = verdict(kept).head
    with unguarded(kept) as con:
        con.execute(entries.delete())
        con.execute(settings.delete().where(settings.c.name == audit.HEAD))
        for _ in range(6):
            audit.note(con, kept.clock, SYSTEM, "nothing:happened")
        con.commit()
    assert verdict(kept).whole
    assert verdict(kept, noted).broken == 5


@pytest.mark.parametrize("statement", ["update audit set actor = 'x'", "delete from audit"])
def test_the_database_itself_refuses_to_change_an_entry(kept, statement):
    with pytest.raises(sa.exc.DBAPIError, match="only ever added"), kept.writing() as con:
        con.execute(sa.text(statement))
    assert verdict(kept).whole


def test_what_was_rolled_back_leaves_no_entry(kept):
    def half():
        with kept.writing() as con:
            audit.note(con, kept.clock, SYSTEM, "facts:add")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert verdict(kept).head[0] == 5


def test_the_command_says_whole_and_its_head_is_taken_back(tmp_path):
    db = str(tmp_path / "w.db")
    assert CliRunner().invoke(cli, ["token", "--db", db, "--role", "nurse"]).exit_code == 0
    told = CliRunner().invoke(cli, ["audit", "verify", "--db", db])
    assert told.exit_code == 0
    head = told.stdout.split("head ")[1].split()[0]
    assert CliRunner().invoke(cli, ["audit", "verify", "--db", db, "--expect", head]).exit_code == 0
    later = f"9:{'0' * 64}"
    assert CliRunner().invoke(cli, ["audit", "verify", "--db", db, "--expect", later]).exit_code == 1
    assert CliRunner().invoke(cli, ["audit", "verify", "--db", db, "--expect", "9:x"]).exit_code == 2


def test_the_command_fails_on_a_log_that_was_changed(tmp_path):
    db = str(tmp_path / "w.db")
    CliRunner().invoke(cli, ["token", "--db", db, "--role", "nurse"])
    store = Store.open(db)
    with unguarded(store) as con:
        con.execute(entries.update().values(actor="nobody"))
        con.commit()
    store.close()
    told = CliRunner().invoke(cli, ["audit", "verify", "--db", db])
    assert told.exit_code == 1
    assert "not whole at entry 1" in told.stderr


def test_entries_are_listed_by_patient_and_since(kept):
    url = kept.engine.url.render_as_string(hide_password=False)
    told = CliRunner().invoke(cli, ["audit", "list", "--db", url, "--patient", "r2"])
    assert told.exit_code == 0
    assert "r2" in told.stdout
    assert "r3" not in told.stdout
    later = CliRunner().invoke(cli, ["audit", "list", "--db", url, "--since", "2027-01-01T00:00Z"])
    assert "patient:read" not in later.stdout


def test_an_approval_stands_by_name_and_hash_until_withdrawn(store_url):
    store, who = Store.open(store_url, HandClock()), Actor("Dr A", "physician")
    known = list(approvals.approvable(library()).items())[:2]
    with store.writing() as con:
        assert approvals.approve(con, store.clock, who, known, "Dr A") == 2
        assert approvals.approve(con, store.clock, who, known, "Dr B") == 0
        assert approvals.approved_hashes(con) == {found for _, found in known}
        assert approvals.withdraw(con, store.clock, who, known[0][0]) == 1
        assert approvals.approved_hashes(con) == {known[1][1]}
        assert [each.by for each in approvals.standing(con)] == ["Dr A"]
        assert audit.verify(con).whole
    store.close()


def test_the_command_approves_lists_and_withdraws(tmp_path):
    db = str(tmp_path / "w.db")

    def run(*words, **more):
        return CliRunner().invoke(cli, ["approve", "--db", db, *words], **more)

    assert run("astct-2019", "--by", "Dr A", input="n\n").exit_code == 1
    assert "astct-2019" not in run("--list").stdout
    assert run("astct-2019", "--by", "Dr A", input="y\n").exit_code == 0
    assert "Dr A" in run("--list").stdout
    assert run("astct-2019", "--by", "Dr A", "--withdraw", "--yes").exit_code == 0
    assert "astct-2019" not in run("--list").stdout
    assert run("astct-2019", "--yes").exit_code == 2
    assert run("no-such-scale", "--by", "Dr A", "--yes").exit_code == 1
    assert run("--all-used", "--by", "Dr A", "--yes").exit_code == 0
    assert run("--list").stdout.count("Dr A") == len(approvals.approvable(library()))


def test_roles_are_no_more_than_they_should_be():
    """Who sees patients cannot manage accounts; who manages accounts sees no patient; a device only sends."""
    for role in ROLES:
        who = Actor("x", role)
        assert not (may(who, "patients:read") and may(who, "accounts:manage"))
    assert not may(Actor("x", "no such role"), "facts:write")
    with pytest.raises(KeyError):
        may(Actor("x", "nurse"), "patients:reed")


def test_an_entry_put_before_the_first_is_found(kept):
    with kept.writing() as con:
        con.execute(
            entries.insert().values(
                seq=0, time=1, actor="x", role="x", action="x", detail="{}", previous="", hash="x"
            )
        )
    assert verdict(kept).broken == 0
