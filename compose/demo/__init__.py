"""The demo: a cluster starts, changes in every way that matters under steady requests, and stops.

- `options` what the environment asks for
- `mode`    where the demo runs, and why
- `context` the cluster, the load and HAProxy's own view, as the steps use them
- `steps`   what happens, each step with a check and a deadline
- `report`  the result of each step; the table and the JSON report
- `display` the progress on the terminal
- `runner`  runs the steps while the load runs, reports, and cleans up whatever happens
"""
