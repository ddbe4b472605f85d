"""`make soak`: random faults on a real cluster under load, by a schedule from a seed, for as long as one likes.

The flow: `__main__` reads the `options`; `runner` plays the turns of the `schedule` on a `place`, which is a cluster of
local processes that a `load` sends requests to. A turn is one fault of `faults/`, or two that go together; it is over
when nothing of `wellbeing` is missing. `ledger` has what became of each request, `census` what the processes use.
`figures` makes numbers of it all; `report` shows them, `plots` draws them, `page` puts them into `docs/soak.md`.
"""
