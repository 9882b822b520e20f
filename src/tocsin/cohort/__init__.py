"""Cohorts: what a paper, a registry and a warehouse need of many patients."""
