"""`make fresh`: runs the commands of the README in root file systems of Debian's base, git, make, python3 and sudo.

- `options`       what the environment asks for
- `roots`         the root file systems: made by debootstrap, kept as archives
- `pip_settings`  carries the machine's pip configuration into a root file system
- `machine`       one root file system in namespaces of its own, and the commands that run in it
- `first_process` the first process of those namespaces
- `verdict`       what the output of a command says; the table

The network is the machine's: apt and pip reach their mirrors as they do outside.
"""
