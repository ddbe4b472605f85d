"""Which host names lead where, in the order to be asked."""

from __future__ import annotations

from rosterd.routes import Route, routes
from rosterd.settings import ServiceSettings


def service(name: str, *hosts: str) -> ServiceSettings:
    """Return a service with these hosts."""
    return ServiceSettings(name=name, hosts=hosts)


def test_names_go_before_wildcards_and_longer_wildcards_before_shorter_ones() -> None:
    """Whichever services they belong to, and whatever their order in the settings."""
    services = (
        service("short", "*.example.org", "www.example.com"),
        service("long", "*.api.example.org"),
        service("exact", "a.api.example.org", "b.api.example.org"),
    )
    assert routes(services) == (
        Route("short", ("www.example.com",), is_suffix=False),
        Route("exact", ("a.api.example.org", "b.api.example.org"), is_suffix=False),
        Route("long", (".api.example.org",), is_suffix=True),
        Route("short", (".example.org",), is_suffix=True),
    )


def test_service_without_hosts_has_no_route() -> None:
    """Such a service is the default, or speaks TCP."""
    assert routes((service("default"), service("other", "x"))) == (Route("other", ("x",), is_suffix=False),)
