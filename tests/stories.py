"""Stories of people at home, for the tests of triage."""

from __future__ import annotations

from hypothesis import strategies as st

from tocsin.advice import tell, triage
from tocsin.definitions.advice import URGENCIES, triage_rules
from tocsin.definitions.load import library

LIB = library()
RULES = triage_rules(LIB)
SIGNS = (*RULES.symptoms, *RULES.assessments)
#: Reassuring: as good as the rules can be told.
WELL = {"temperature": 36.8, "spo2": 98.0, "systolic-bp": 125.0, "heart-rate": 75.0, "respiratory-rate": 14.0}
vitals = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([35.0, 36.8, 37.4, 37.5, 37.9, 38.0, 39.5, 41.0]),
        "spo2": st.sampled_from([70.0, 89.0, 90.0, 92.0, 93.0, 99.0]),
        "systolic-bp": st.sampled_from([60.0, 79.0, 85.0, 89.0, 90.0, 105.0, 140.0]),
        "heart-rate": st.sampled_from([50.0, 110.0, 120.0, 121.0, 160.0]),
        "respiratory-rate": st.sampled_from([10.0, 24.0, 25.0, 40.0]),
        "age": st.sampled_from([0.5, 6.0, 17.9, 18.0, 70.0]),
    },
)
stories = st.fixed_dictionaries(
    {
        "symptoms": st.lists(st.sampled_from(SIGNS), max_size=4, unique=True),
        "readings": vitals,
        "usual": st.sampled_from([{}, {"systolic-bp": 95.0}, {"systolic-bp": 130.0}]),
        "medicines": st.sampled_from(
            [{}, {"acetaminophen": 3.0}, {"dexamethasone": 30.0}, {"tocilizumab": 60.0}]
        ),
        "therapy": st.sampled_from([None, *LIB.classes["therapy"]]),
        "days": st.sampled_from([None, 0, 1, 2, 7, 14, 15, 30, 60]),
    }
)


def rank(**told) -> int:
    return URGENCIES.index(triage(tell(lib=LIB, **told), LIB)["urgency"])


def urgency(**told) -> str:
    return URGENCIES[rank(**told)]
