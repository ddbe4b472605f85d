"""Metrics, alert rules and dashboard, held against what really answers; the rules by Prometheus' own promtool."""
