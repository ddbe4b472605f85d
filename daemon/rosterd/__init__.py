"""rosterd keeps HAProxy in step with a Serf cluster."""

__version__ = "0.1.0"
