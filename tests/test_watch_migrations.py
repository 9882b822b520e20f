"""A store that an earlier program wrote is brought up to date, and means the same afterwards."""

from __future__ import annotations

from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic import command

from tocsin.watch import migrate
from tocsin.watch.service import Service, Settings
from tocsin.watch.store import WRITES, Store
from watched import DEVICE, LIB, NOON, HandClock, fact

BEFORE_1970 = "1953-05-01T08:00Z"
SENT = [
    fact("p1", -2, "temperature", 38.6, "Cel"),
    {**fact("p1", -1, "temperature", 38.4, "Cel"), "source": "monitor:7"},
    {"patient_id": "p2", "time": BEFORE_1970, "measure": "temperature", "value": 37.0, "unit": "Cel"},
]
WRONG = {**fact("p1", -1, "systolic-bp", None, "mm[Hg]"), "value": "ninety", "source": "monitor:8"}
RIGHT = {**fact("p1", -1, "systolic-bp", 90, "mm[Hg]"), "source": "monitor:8"}


def opened(url: str) -> Service:
    """A service on a store."""
    service = Service(Store.open(url, HandClock(NOON)), lib=LIB, settings=Settings(demo=True))
    service.start()
    return service


def aged(url: str) -> None:
    """Give stored facts the hashes that they had before version 6: all of what makes them the same fact."""
    store = Store.open(url)
    with store.writing() as con:
        name = "facts_update"
        if store.sqlite:
            con.exec_driver_sql(f"drop trigger {name}")
        else:
            con.exec_driver_sql(f"alter table facts disable trigger {name}")
        for seq, source, old in con.exec_driver_sql("select seq, source, hash from facts").all():
            named = source.partition("fact:")[2] or source.partition("refused:")[2].partition(":")[0]
            hash_ = old if old.endswith("w") else named or old[8:] + "0" * 8
            con.execute(sa.text("update facts set hash = :h where seq = :s"), {"h": hash_, "s": seq})
        if store.sqlite:
            con.exec_driver_sql(
                f"create trigger {name} before update on facts begin\n"
                "  select raise(abort, 'facts are only ever added');\nend"
            )
        else:
            con.exec_driver_sql(f"alter table facts enable trigger {name}")
        con.exec_driver_sql("update alembic_version set version_num = '5'")
    store.close()


def test_facts_stored_before_their_hashes_began_with_the_minute_are_still_known(store_url):
    """A fact sent again is the same one, a mark that was lifted stays lifted, and nothing may be changed."""
    service = opened(store_url)
    receipt = service.ingest([*SENT, WRONG], DEVICE)
    assert (receipt.stored, len(receipt.rejected)) == (3, 1)
    service.ingest([RIGHT], DEVICE)
    with service.store.reading() as con:
        before = con.exec_driver_sql("select seq, source, hash from facts order by seq").all()
    service.stop()
    service.store.close()
    assert sum(row.hash.endswith("w") for row in before) == 1
    aged(store_url)
    with closing(Store.open(store_url, migrate=False)) as store, store.reading() as con:
        old = con.exec_driver_sql("select hash from facts order by seq").scalars().all()
    assert sum(one != row.hash for one, row in zip(old, before, strict=True)) == len(before) - 1

    service = opened(store_url)
    with service.store.reading() as con:
        after = con.exec_driver_sql("select seq, source, hash from facts order by seq").all()
    assert after == before
    again = service.ingest([*SENT, RIGHT], DEVICE)
    assert (again.stored, again.duplicates) == (0, 4)
    with service.store.reading() as con:
        assert con.exec_driver_sql("select count(*) from facts").scalar() == len(before)
    with pytest.raises(sa.exc.DBAPIError, match="only ever added"), service.store.writing() as con:
        con.exec_driver_sql("update facts set value = 36")
    service.stop()
    service.store.close()


def test_an_empty_store_of_every_earlier_version_is_brought_up_to_date(store_url):
    """Some versions one after the other, then the rest at once."""
    engine = sa.create_engine(store_url.replace("postgresql://", "postgresql+psycopg://"))
    config = migrate.configured()
    for version in ("1", "3", "5"):
        with engine.connect().execution_options(**{WRITES: True}) as con, con.begin():
            config.attributes["connection"] = con
            command.upgrade(config, version)
    engine.dispose()
    service = opened(store_url)
    assert service.ingest(SENT, DEVICE).stored == 3
    service.stop()
    service.store.close()
