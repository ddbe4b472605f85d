"""Tests of the admin interface, over real HTTP on loopback."""
