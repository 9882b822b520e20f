"""Definitions: every clinical rule as cited data, and the loader that reads it."""
