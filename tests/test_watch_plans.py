"""How PostgreSQL looks for resources: with the values that are asked for at hand."""

from __future__ import annotations

import sqlalchemy as sa

from tocsin.watch import fhir_kept
from tocsin.watch.store import Store
from watched import NOON, HandClock, fresh_postgres


def test_no_plan_is_kept_that_was_made_without_the_values(postgres_url):
    """Kept after some uses, it would compare every resource of a kind with every id, one by one."""
    with fresh_postgres(postgres_url) as url:
        store = Store.open(url, HandClock(NOON))
        with store.engine.connect() as con:
            for lot in range(40):
                ids = [f"o{k}" for k in range(lot * 500, lot * 500 + 500)]
                assert fhir_kept.newest(con, [("Observation", id) for id in ids]) == {}
                fhir_kept.keep(con, NOON, [("Observation", id, 1, "p", "d", "{}") for id in ids])
                con.commit()
            plans = con.execute(
                sa.text(
                    "select sum(generic_plans) as kept, sum(custom_plans) as made from pg_prepared_statements"
                    " where statement like '%from fhir_resources where kind%'"
                )
            ).one()
        store.close()
    assert plans.kept == 0
    assert plans.made > 5
