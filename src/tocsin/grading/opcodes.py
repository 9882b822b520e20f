"""Numbers the machine and the compiler agree on: kinds, modes, comparisons, node operations."""

import math

INF = 1 << 62
NONE = -(1 << 62)
HOUR = 3_600_000_000
TINY = 1e-300
ENDLESS = math.inf
# numbers closer than this part of the bound are equal
SLACK = 1e-9

# measure kinds
IRRELEVANT, READING, INFUSION, EVENT, ATTRIBUTION, DEATH = 0, 1, 2, 3, 4, 5
# channel modes
PLAIN, TIMES_ULN, TIMES_LLN, TIMES_WEIGHT, PER_WEIGHT = 0, 1, 2, 3, 4
# comparisons
AT_LEAST, ABOVE, AT_MOST, BELOW, ONE_OF = 0, 1, 2, 3, 4
# what a leaf compares with
NO_REF, TIMES_BASELINE, DROP, PERCENT_DROP, WORSE, AGE_LIMIT = 0, 1, 2, 3, 4, 5
# node operations: leaves, combinations, memory
READ, SUM, GIVEN, NO_TRIGGER, OUTSIDE, STALE, DEFAULTED, ADULT = 0, 1, 2, 3, 4, 5, 6, 7
RULE, COUNT, FIRST = 8, 9, 10
FOR, WITHIN, CONFIRM, EVER = 11, 12, 13, 14
# text codes of a row
NO_TEXT, ABSENT, PUSH, UNUSABLE = 0, 1, 2, 3
FIRST_TEXT = 16
# instants kept of a `given` finding (the highest count a definition can ask for), registers of a node
RING = 4
REGISTERS = 6
# the age at which a patient without a charted age is taken to be
ADULT_AGE = 18.0
# scalars of a patient's state
(NEXT, FIRST_DOSE, WINDOW, TOUCHED, DOSE_NOW, STARTED, DIRTY, CUT, FIRST_OUT, WALKS, CLEAN, ATTRIBUTED) = (
    range(12)
)
