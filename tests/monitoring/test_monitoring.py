"""What an operator's Prometheus and Grafana are given: it names what is there, and does what it says."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import Balancer
from tests.markdown import Page
from tests.monitoring import dashboard
from tests.monitoring.dashboard import PANELS

DOCS = Path(__file__).parents[2] / "docs"
MONITORING = DOCS / "monitoring"
RULES = (MONITORING / "rules.yml").read_text(encoding="utf-8")
METRIC = re.compile(r"\b(?:rosterd|haproxy|process)_[a-z0-9_]+\b")
PARTS = ("_bucket", "_count", "_sum")


def promtool(*arguments: str, stdin: bytes = b"", at: Path = MONITORING) -> str:
    """Run Prometheus' own checker; what it says, once it has said that all is well."""
    result = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, cwd=at, timeout=60, check=False)
    told = (result.stdout + result.stderr).decode()
    assert result.returncode == 0, told
    return told


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that has served, and has done a thing of each kind."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        made.start()
        stays, goes = made.add_web(), made.add_web()
        made.wait_served(stays, goes)
        made.remove(goes)
        made.get()
        yield made


def scraped(balancer: Balancer) -> bytes:
    """Return what rosterd's `/metrics` says."""
    with urllib.request.urlopen(f"http://{balancer.settings['admin']['listen']}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text: bytes = answer.read()
    return text


def values(text: bytes) -> dict[str, float]:
    """Return the value of each series."""
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def names(text: bytes) -> frozenset[str]:
    """Return the names of all series."""
    return frozenset(series.partition("{")[0] for series in values(text))


# --- the metrics ------------------------------------------------------------------------------------------------


def test_promtool_has_nothing_against_the_metrics(balancer: Balancer) -> None:
    """Names, units, help, and the format itself."""
    assert promtool("check", "metrics", stdin=scraped(balancer)) == ""


def test_the_metrics_tell_what_happened(balancer: Balancer) -> None:
    """Two joined and one left, without a reload; one serves and is up."""
    found = values(scraped(balancer))
    expected = {
        "rosterd_ready": 1,
        "rosterd_agent_up": 1,
        "rosterd_proxy_up": 1,
        "rosterd_proxy_old_workers": 0,
        'rosterd_members{service="nodes",status="alive"}': 1,
        'rosterd_members{service="",status="alive"}': 1,
        'rosterd_servers{service="nodes",state="ready"}': 1,
        'rosterd_servers_up{service="nodes"}': 1,
        'rosterd_servers_held{service="nodes"}': 0,
        'rosterd_member_changes_total{transition="left"}': 1,
        'rosterd_runtime_actions_total{action="add_server",result="done"}': 2,
        'rosterd_runtime_actions_total{action="remove_server",result="done"}': 1,
        'rosterd_runtime_actions_total{action="add_server",result="failed"}': 0,
        'rosterd_reloads_total{result="done"}': 0,
        "rosterd_turns_failed_total": 0,
        "rosterd_log_lines_dropped_total": 0,
    }
    assert {series: found.get(series) for series in expected} == expected
    assert found['rosterd_member_changes_total{transition="joined"}'] >= 2
    assert found['rosterd_wake_to_applied_seconds_count{by="runtime"}'] >= 4
    assert found['rosterd_wakeups_total{by="agent"}'] > 0
    assert 0 <= found["rosterd_loop_lag_seconds"] < 5
    assert found["process_resident_memory_bytes"] > 10_000_000


def test_no_member_is_a_label(balancer: Balancer) -> None:
    """Nor a server or an address: series are bounded by the settings."""
    text = scraped(balancer).decode()
    for row in balancer.daemon.get("/v1/members")["members"]:
        assert row["name"] not in text
        assert row["address"] not in text


def test_every_metric_is_documented(balancer: Balancer) -> None:
    """And what is documented is there."""
    documented = {
        line.split("`")[1] for line in (DOCS / "metrics.md").read_text().splitlines() if line.startswith("| `")
    }
    found = set()
    for name in names(scraped(balancer)):
        base = next((name.removesuffix(part) for part in PARTS if name.endswith(part)), name)
        found.add(base)
    assert found == documented


def test_haproxy_tells_of_its_own_traffic(balancer: Balancer) -> None:
    """Beside the statistics page."""
    assert any(name.startswith("haproxy_backend_http_responses_total") for name in names(haproxys(balancer)))


def haproxys(balancer: Balancer) -> bytes:
    """Return what HAProxy's own exporter says."""
    with urllib.request.urlopen(f"http://{balancer.settings['proxy']['stats_bind']}/metrics", timeout=5) as answer:
        text: bytes = answer.read()
    return text


# --- the rules --------------------------------------------------------------------------------------------------


def alerts() -> list[str]:
    """Return the names of all alerts."""
    return re.findall(r"^      - alert: (\w+)$", RULES, re.MULTILINE)


def test_the_rules_are_valid() -> None:
    """And so is the configuration that names them."""
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", "rules.yml")
    assert "is valid" in promtool("check", "config", "prometheus.yml")


def test_each_alert_does_what_it_says() -> None:
    """Silent until its time has come, then with these labels and words: by promtool's own tests."""
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")
    tests = (MONITORING / "rules_test.yml").read_text(encoding="utf-8")
    assert sorted(alerts()) == sorted(set(re.findall(r"^        alertname: (\w+)$", tests, re.MULTILINE)))
    assert tests.count("exp_alerts: []") == len(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_leads_to_what_to_do(alert: str) -> None:
    """A section of the operations guide that names it."""
    block = RULES.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
    (anchor,) = re.findall(r"runbook: docs/operations\.md#(\S+)", block)
    page = Page(DOCS / "operations.md")
    assert anchor in page.anchors
    assert f"`{alert}`" in page.text


# --- the dashboard ----------------------------------------------------------------------------------------------


def test_the_dashboard_is_level() -> None:
    """The file is what `python -m tests.monitoring.dashboard` writes."""
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text()
    places = [panel["gridPos"] for panel in json.loads(dashboard.text())["panels"]]
    taken = [(x, place["y"]) for place in places for x in range(place["x"], place["x"] + place["w"])]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < dashboard.ROW_WIDTH


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Each question is valid, once Grafana has put in its variables."""
    asked = [ask for panel in PANELS for ask in panel.asks.values()]
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    for number, ask in enumerate(asked):
        question = ask.replace("$__rate_interval", "1m").replace("$instance", ".*")
        lines += [f"      - record: question:{number}", f"        expr: {json.dumps(question)}"]
    (tmp_path / "questions.yml").write_text("\n".join(lines))
    assert f"SUCCESS: {len(asked)} rules found" in promtool("check", "rules", "questions.yml", at=tmp_path)


def test_rules_and_dashboard_ask_for_what_is_there(balancer: Balancer) -> None:
    """No question about a metric that nobody tells."""
    there = names(scraped(balancer)) | names(haproxys(balancer))
    asked = set(METRIC.findall(RULES)) | {
        name for panel in PANELS for ask in panel.asks.values() for name in METRIC.findall(ask)
    }
    assert asked - there == set()
