"""`make bench`: rosterd beside its alternatives, on real Serf agents, real proxies and a load that counts everything.

The flow: `__main__` reads the `options`; a scenario (`scenarios/`) puts each contender (`contenders/`) on one cluster
(`cluster`, watched by `watcher`) under load (`traffic`, and `generator` as its process) and makes figures (`figures`)
of the samples; `report` shows them beside the `goals`, `plots` draws them, `page` puts them into `docs/bench.md`.
"""
