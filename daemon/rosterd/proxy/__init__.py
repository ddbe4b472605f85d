"""The wire to HAProxy: its runtime socket, its master socket, its configuration file and its `-c`."""
