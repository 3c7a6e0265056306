"""Observation: facts become metrics and log events. Nothing else counts or logs, so both always agree."""
