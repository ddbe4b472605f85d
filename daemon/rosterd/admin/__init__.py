"""Read-only HTTP: how people and programs look into the daemon."""
