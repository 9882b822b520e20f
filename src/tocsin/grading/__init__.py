"""Grading: one definition, one state machine, three ways to run it (batch, live, SQL)."""
