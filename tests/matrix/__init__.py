"""The versions of HAProxy and Serf that the project is tested with, and the matrix of suites over them.

- `versions`  which versions there are, and where each comes from
- `fetch`     brings one into `.programs/` below the tree: `make haproxy VERSION=3.4`, `make serf VERSION=0.10.1`
- `packages`  Debian packages of another release, made to run on this one
- `suites`    what is run on each version
- `options`   what is asked for
- `run`       runs one suite on one version, and counts
- `table`     the result: versions and suites
- `__main__`  `make matrix`
"""
