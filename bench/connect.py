"""How fast other systems are answered.

    python bench/connect.py fhir [--number 20000] [--bundle 500]   Observations a second, beside a peer
    python bench/connect.py cds [--calls 200]                   cards for a patient of 14 days
    python bench/connect.py hl7 [--connections 8]                  HL7 v2 messages a second

Each starts the real program in its own process, on a store of its own.
"""

from __future__ import annotations

import sys

import connect_cds
import connect_fhir
import connect_hl7

PARTS = {"fhir": connect_fhir.main, "cds": connect_cds.main, "hl7": connect_hl7.main}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        sys.exit(f"{__doc__}\n  fix: one of {', '.join(PARTS)}")
    PARTS[sys.argv[1]](sys.argv[2:])
