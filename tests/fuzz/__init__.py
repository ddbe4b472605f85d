"""Untrusted bytes and members, by the hundred thousand: coverage-guided, and generated against a real HAProxy."""
