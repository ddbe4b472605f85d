"""The demo web app that stands behind the balancer; it knows nothing of Serf, HAProxy or rosterd."""
