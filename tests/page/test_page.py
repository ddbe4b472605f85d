"""What the page shows, to whom, and how it keeps up: in a real browser, over what a daemon may say."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from selenium.webdriver.common.keys import Keys

from rosterd.admin.page import SHOWN_SERVERS
from tests.balancer import throughout
from tests.page.browser import Browser, Look
from tests.page.scenes import HOSTILE, Json, changed, event, joined, quiet, server, service, troubled
from tests.page.stage import Stage, staged

PHONE = 360
LOOKS = {
    "light": Look(),
    "dark": Look(dark=True),
    "phone": Look(width=PHONE, height=700),
    "dark phone": Look(width=PHONE, height=700, dark=True),
    "without JavaScript": Look(javascript=False),
}
each_look = pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)


class TestContent:
    """What is to be read."""

    @each_look
    def test_services_and_servers(self, chromium: Browser, stage: Stage, look: Look) -> None:
        """Each server with state, since when, weight, sessions, rate and errors, in every way to look at it."""
        stage.status = quiet(
            service(
                "nodes",
                server("web-1"),
                server("web-2", address="10.0.0.2", up=False, check="L4CON", errors=3, since_s=7300),
                sessions=8,
            ),
            service("cache", server("v6", address="2001:db8::1", state="drain", queue=2)),
        )
        chromium.look(stage.url, look)
        assert chromium.texts("h2")[:2] == ["nodes", "cache"]
        assert "1 of 2 servers up, 8 sessions, 40/s" in chromium.text("#services table caption")
        rows = [re.split(r"\s+", text) for text in chromium.texts("#services tbody tr")]
        labels = {"Since", "State", "Weight", "Sessions", "Rate", "/s", "Errors", "●", "▼", "◑"}
        assert [[word for word in row if word not in labels] for row in rows] == [
            ["web-1", "10.0.0.1:3000", "up", "65", "s", "100", "7", "40", "0"],
            ["web-2", "10.0.0.2:3000", "down", "L4CON", "2", "h", "100", "7", "40", "3"],
            ["v6", "[2001:db8::1]:3000", "drain", "65", "s", "100", "7", "+2", "40", "0"],
        ]

    @each_look
    def test_every_trouble_stands_on_top(self, chromium: Browser, stage: Stage, look: Look) -> None:
        """In words, above the services; what touches the whole balancer first, and in the title."""
        stage.status = troubled()
        chromium.look(stage.url, look)
        urgent, notes = (chromium.texts(f"{box} li strong") for box in ("#urgent", "#notes"))
        assert urgent == ["Serf agent:", "HAProxy:", "guard:", "edit rejected:", "last action failed:"]
        assert notes == ["open:", "displaced:", "barred:", "damped:", "quarantined:", "held:", "taken out:"]
        assert "more than half of nodes failed at once" in chromium.text("#urgent")
        assert "Not ready" in chromium.text("header")
        assert chromium.title.startswith("Serf agent, HAProxy, guard, edit rejected, last action failed - rosterd")
        page_y = "return arguments[0].getBoundingClientRect().bottom"
        bottoms = [chromium.evaluate(page_y, chromium.element(box)) for box in ("#urgent", "#notes", "#services")]
        assert all(upper < lower for upper, lower in pairwise(bottoms))

    def test_the_last_changes_stand_by_their_traces(self, chromium: Browser, stage: Stage) -> None:
        """The newest first; under one trace all that belongs together, in the order in which it happened."""
        stage.history = [
            joined(1, "web-1", "ab12.4"),
            changed(2, "web-1", "ab12.4"),
            event(3, "guard.engaged", level="warning", reason="2 of 3 failed", effect="no failed member is removed"),
        ]
        chromium.look(stage.url)
        newest, older = chromium.texts("#changes ol > li")
        assert "16:00:03 UTC" in newest
        assert "guard.engaged 2 of 3 failed, no failed member is removed" in newest
        assert "ab12.4" in older
        assert older.index("member.joined web-1 (shop), 10.0.0.1 port 3000") < older.index(
            "servers.changed web-1 joined, wake to applied 5 ms, woken by agent"
        )
        assert "add server" not in older
        chromium.element("#changes summary").click()
        assert "add server nodes/web-1 10.0.0.1:3000 id 17" in chromium.text("#changes")

    def test_without_javascript_details_open_too(self, chromium: Browser, stage: Stage) -> None:
        """The changes are there, and how to look again is said."""
        stage.history = [changed(2, "web-1", "ab12.4")]
        chromium.look(stage.url, Look(javascript=False))
        chromium.element("#changes summary").click()
        assert "add server nodes/web-1" in chromium.text("#changes")
        assert "Without JavaScript" in chromium.text()
        assert "live" not in chromium.text("header")

    def test_a_service_without_servers(self, chromium: Browser, stage: Stage) -> None:
        """It says so, and what that means, and that is urgent."""
        stage.status = quiet(service("nodes"))
        chromium.look(stage.url)
        assert "nobody serves: nodes has no server that is up" in chromium.text("#urgent")
        assert "No server: whoever asks is turned away." in chromium.text("#services")

    def test_a_great_many_servers(self, chromium: Browser, stage: Stage) -> None:
        """Those that are not up are shown in any case, and how many are left out is said."""
        rows = [server(f"web-{number}") for number in range(2 * SHOWN_SERVERS)]
        stage.status = quiet(service("nodes", *rows, server("zz-down", up=False)))
        chromium.look(stage.url, Look(javascript=False))
        names = chromium.texts("#services tbody th")
        assert len(names) == SHOWN_SERVERS
        assert names[0].startswith("zz-down")
        assert f"And {SHOWN_SERVERS + 1} more" in chromium.text("#services")


class TestHostileText:
    """What the network sends is shown, and does nothing."""

    @each_look
    def test_it_is_text(self, chromium: Browser, stage: Stage, look: Look) -> None:
        """In each place where a name, a tag or a reason can stand, at first sight and after an update."""
        stage.status = {
            **quiet(service(HOSTILE, server(HOSTILE))),
            "quarantined": [{"name": HOSTILE, "reason": HOSTILE}],
            "guard": HOSTILE,
        }
        stage.history = [changed(1, HOSTILE, HOSTILE)]
        chromium.look(stage.url, look)
        if look.javascript:
            stage.tell(joined(2, HOSTILE, HOSTILE))
            chromium.until(lambda page: "member.joined" in page.text("#changes"), "the event")
        assert chromium.evaluate("return document.querySelectorAll('img, #page script').length") == 0
        assert chromium.title.startswith("guard - ")
        assert chromium.complaints() == []
        for place in ("#urgent", "#notes", "#services caption", "#services tbody th", "#changes"):
            assert HOSTILE in chromium.text(place), place

    def test_the_policy_refuses_what_gets_in_nevertheless(self, chromium: Browser, stage: Stage) -> None:
        """A script or a style in the markup, and anything from elsewhere."""
        chromium.look(stage.url)
        chromium.evaluate(
            """
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:1/x.png";
            document.body.append(script, image);
            document.body.setAttribute("style", "color: red");
            fetch("http://127.0.0.1:1/").catch(() => {});
            """
        )
        assert chromium.title != "owned"
        said = chromium.until(lambda page: page.complaints(), "the console")
        directives = {word for line in said for word in re.findall(r"(script|img|style|connect)-src", line)}
        assert directives >= {"script"}
        assert chromium.evaluate("return getComputedStyle(document.body).color") != "rgb(255, 0, 0)"


class TestUpdates:
    """With JavaScript the page keeps up by itself."""

    def test_an_event_shows_at_once(self, chromium: Browser, stage: Stage) -> None:
        """Long before the next look that would come anyway, and without a reload."""
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        chromium.until(lambda page: page.text("header").endswith(", live"), "the page to be live")
        assert "Without JavaScript" not in chromium.text()
        chromium.evaluate("window.isTheSame = true")
        asked = stage.asked
        stage.status = quiet(service("nodes", server("web-1"), server("web-new")))
        stage.tell(joined(5, "web-new", "ab12.9"))
        chromium.until(lambda page: "web-new" in page.text("#services"), "the new server", within=1.0)
        assert "ab12.9" in chromium.text("#changes")
        assert stage.asked - asked <= 2
        assert chromium.evaluate("return window.isTheSame") is True
        assert chromium.complaints() == []

    def test_a_burst_of_events_is_one_look(self, chromium: Browser, stage: Stage) -> None:
        """A hundred members at once cost a few looks, not a hundred."""
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        asked = stage.asked
        for number in range(100):
            stage.tell(joined(number, f"web-{number}", "ab12.9"))
        chromium.until(lambda page: "web-99" in page.text("#changes"), "the last of them")
        assert stage.asked - asked < 20

    def test_traffic_moves_without_events(self, chromium: Browser, stage: Stage) -> None:
        """Sessions and rate change all the time, and nobody sends an event for it."""
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        stage.status = quiet(service("nodes", server("web-1", sessions=4711)))
        chromium.until(lambda page: "4711" in page.text("#services"), "the new figure", within=4.0)

    def test_where_nobody_sends_events_it_looks_by_itself(self, chromium: Browser) -> None:
        """Twice a second, and says so; too many may follow already, or what stands between lets no stream through."""
        with staged(Stage(quiet(), sends_events=False)) as stage:
            chromium.look(stage.url)
            chromium.until(lambda page: "twice a second" in page.text("header"), "the page to say how it looks")
            stage.status = quiet(service("nodes", server("web-new")))
            chromium.until(lambda page: "web-new" in page.text("#services"), "the new server", within=1.5)
            chromium.leave()

    def test_while_it_connects_again_it_is_not_live(self, chromium: Browser, stage: Stage) -> None:
        """It looks by itself meanwhile, and says so."""
        chromium.look(stage.url)
        chromium.until(lambda page: page.text("header").endswith(", live"), "the page to be live")
        stage.is_mute = True
        stage.hang_up()
        chromium.until(lambda page: "twice a second" in page.text("header"), "the page to say how it looks")
        stage.is_mute = False
        chromium.until(lambda page: page.text("header").endswith(", live"), "the page to be live again")

    def test_a_daemon_that_is_away_is_told(self, chromium: Browser, stage: Stage) -> None:
        """What was last known stays, marked as old, in the title too; when the daemon is back that is over."""
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        stage.is_away = True
        stage.hang_up()
        chromium.until(lambda page: "The daemon does not answer" in page.text("#lost"), "the page to say so")
        assert chromium.title.startswith("Not answering: ")
        assert "web-1" in chromium.text("#services")
        assert ("alert", "") in chromium.roles()
        stage.is_away = False
        chromium.until(lambda page: page.text("#lost") == "", "the page to be back")
        assert chromium.title.startswith("ready - ")
        chromium.until(lambda _: stage.listeners, "the page to listen again")

    def test_what_the_reader_does_is_left_alone(self, chromium: Browser, stage: Stage) -> None:
        """Opened details, the focus and a selection outlive updates; rows stay the same elements."""
        stage.history = [changed(2, "web-1", "ab12.4")]
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        chromium.element("#changes summary").click()
        row = chromium.element('tr[data-key="web-2"]')
        chromium.evaluate("getSelection().selectAllChildren(arguments[0].querySelector('th'))", row)
        stage.status = quiet(service("nodes", server("web-0"), server("web-2", weight=9), server("web-3")))
        stage.tell(joined(5, "web-0", "ab12.9"))
        chromium.until(lambda page: "web-0" in page.text("#services"), "the new server")
        assert "9" in row.text.split()
        assert chromium.evaluate("return getSelection().toString()").startswith("web-2")
        assert chromium.evaluate("return document.activeElement.tagName") == "SUMMARY"
        assert "add server nodes/web-1" in chromium.text("#changes")
        order = [name.split()[0] for name in chromium.texts("#services tbody th")]
        assert order == ["web-0", "web-2", "web-3"]

    def test_a_screen_reader_hears_only_what_is_new(self, chromium: Browser, stage: Stage) -> None:
        """The regions that are read out do not change while a trouble lasts, whatever ages go on."""
        stage.status = troubled()
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        chromium.evaluate(
            """
            window.heard = 0;
            const ear = new MutationObserver((records) => { window.heard += records.length; });
            for (const region of document.querySelectorAll("[role=alert], [role=status]"))
                ear.observe(region, { subtree: true, childList: true, characterData: true, attributes: true });
            """
        )
        older = troubled()
        stage.status = {
            **older,
            "agent": {**older["agent"], "since_s": 999, "stale_s": 999},
            "damped": [{**row, "for_s": 1} for row in older["damped"]],
        }
        stage.tell(joined(5, "web-0", "ab12.9"))
        chromium.until(lambda page: "ab12.9" in page.text("#changes"), "the update")
        chromium.until(lambda page: "does not answer since 17 min" in page.text("#facts"), "the age")
        assert chromium.evaluate("return window.heard") == 0
        stage.status = quiet()
        stage.tell(joined(6, "web-0", "ab12.9"))
        chromium.until(lambda page: page.evaluate("return window.heard") > 0, "the change in the regions")

    def test_a_hidden_page_asks_for_nothing(self, chromium: Browser, stage: Stage) -> None:
        """It holds no connection either; when it is looked at again it is up to date at once."""
        chromium.look(stage.url)
        chromium.until(lambda _: stage.listeners, "the page to listen")
        with chromium.elsewhere():
            chromium.until(lambda _: _lets_go(stage), "the page to let go")
            asked = stage.asked
            stage.status = quiet(service("nodes", server("web-new")))
            throughout(lambda: stage.asked == asked, 2.5, "the page asks for nothing")
        chromium.until(lambda page: "web-new" in page.text("#services"), "the page to catch up", within=1.0)
        chromium.until(lambda _: stage.listeners, "the page to listen again")


def _lets_go(stage: Stage) -> bool:
    """Whether nobody listens; the server notices that when it sends something."""
    stage.tell(event(1, "config.followed"))
    return not stage.listeners


class TestForEverybody:
    """Small screens, dark rooms, keyboards, screen readers, colours not seen, motion not wanted."""

    @pytest.mark.parametrize("width", [320, PHONE, 768, 1280])
    def test_nothing_is_wider_than_the_screen(self, chromium: Browser, stage: Stage, width: int) -> None:
        """However long the names are: no scrolling sideways, on a phone as on a desk."""
        long_name = "web-" + "x" * 120
        stage.status = {
            **troubled(),
            "services": [service(long_name, server(long_name, check="L4CON", up=False), server("2", queue=99999))],
            "quarantined": [{"name": long_name, "reason": long_name}],
        }
        stage.history = [changed(1, long_name, "ab12.5"), joined(2, long_name, "ab12.5")]
        chromium.look(stage.url, Look(width=width))
        chromium.element("#changes summary").click()
        wide = """
            const most = document.documentElement.clientWidth;
            return [...document.querySelectorAll("body *")]
                .map((each) => [each.tagName, each.textContent.slice(0, 30), each.getBoundingClientRect()])
                .filter(([, , box]) => box.width && box.right > 0 && (box.right > most + 0.5 || box.left < -0.5))
                .map(([tag, text, box]) => `${tag} ${text} ${box.left} ${box.right}`);
        """
        assert chromium.evaluate(wide) == []
        assert chromium.evaluate("return document.documentElement.scrollWidth") <= width

    @each_look
    @pytest.mark.parametrize("scene", [quiet, troubled], ids=["quiet", "troubled"])
    def test_all_text_has_enough_contrast(
        self, chromium: Browser, stage: Stage, look: Look, scene: Callable[[], Json]
    ) -> None:
        """At least 4.5 to 1 between each text and what is behind it: WCAG 2, level AA."""
        stage.status = scene()
        stage.history = [
            changed(1, "web-1", "ab12.5"),
            event(3, "guard.engaged", level="warning", reason="2 of 3 failed"),
        ]
        chromium.look(stage.url, look)
        chromium.element("#changes summary").click()
        pairs = chromium.evaluate(TEXT_COLOURS)
        assert len(pairs) > 20
        poor = [(text, contrast(front, back)) for text, front, back in pairs if contrast(front, back) < 4.5]
        assert poor == []

    def test_the_page_that_has_lost_its_daemon_has_contrast_too(self, chromium: Browser, stage: Stage) -> None:
        """The line that only the script writes."""
        for look in (Look(), Look(dark=True)):
            stage.is_away = False
            chromium.look(stage.url, look)
            chromium.until(lambda _: stage.listeners, "the page to listen")
            stage.is_away = True
            stage.hang_up()
            chromium.until(lambda page: page.text("#lost"), "the page to say so")
            ratios = [
                contrast(front, back) for text, front, back in chromium.evaluate(TEXT_COLOURS) if "daemon" in text
            ]
            assert ratios
            assert min(ratios) >= 4.5

    def test_no_state_is_told_by_colour_alone(self, chromium: Browser, stage: Stage) -> None:
        """Each has a word, and a sign of its own."""
        stage.status = quiet(
            service("nodes", server("a"), server("b", up=False), server("c", state="maint"), server("d", up=None))
        )
        chromium.look(stage.url)
        assert chromium.texts(".state") == ["up", "down", "maint", "not seen"]
        signs = "return [...document.querySelectorAll('.state')].map((e) => getComputedStyle(e, '::before').content)"
        assert len(set(chromium.evaluate(signs))) == 4

    def test_by_keyboard(self, chromium: Browser, stage: Stage) -> None:
        """The first key shows a link past the head; what has the focus is seen; details open with Enter."""
        stage.history = [changed(1, "web-1", "ab12.5")]
        chromium.look(stage.url)
        reached = []
        for _ in range(4):
            chromium.press(Keys.TAB)
            focus = "const e = document.activeElement, s = getComputedStyle(e); const box = e.getBoundingClientRect();"
            reached.append(chromium.evaluate(f"{focus} return e.textContent"))
            ring = f"{focus} return s.outlineStyle === 'solid' && parseFloat(s.outlineWidth) >= 2 && box.left >= 0"
            assert chromium.evaluate(ring), reached[-1]
        assert reached == ["Skip to the services", "3 in detail", "status", "members"]
        chromium.evaluate("document.querySelector('summary').focus()")
        chromium.press(Keys.ENTER)
        assert "add server nodes/web-1" in chromium.text("#changes")

    def test_the_first_link_leads_to_the_services(self, chromium: Browser, stage: Stage) -> None:
        """And takes the focus along."""
        chromium.look(stage.url)
        chromium.press(Keys.TAB, Keys.ENTER)
        assert chromium.evaluate("return document.activeElement.id") == "services"

    @pytest.mark.parametrize("width", [PHONE, 1280])
    def test_by_screen_reader(self, chromium: Browser, stage: Stage, width: int) -> None:
        """Landmarks, headings and a table with caption, column heads and row heads, on a phone too."""
        stage.status = troubled()
        stage.history = [changed(1, "web-1", "ab12.5")]
        chromium.look(stage.url, Look(width=width))
        roles = chromium.roles()
        assert {"banner", "main", "contentinfo", "alert", "status"} <= {role for role, _ in roles}
        assert [name for role, name in roles if role == "region"] == ["Services", "Last changes", "Around it"]
        (table,) = (name for role, name in roles if role == "table")
        assert table.startswith("nodes 0 of 3 servers up")
        heads = [name for role, name in roles if role == "columnheader"]
        assert heads == ["Server", "State", "Since", "Weight", "Sessions", "Rate /s", "Errors"]
        rows = [name for role, name in roles if role == "rowheader"]
        assert [row.split()[0] for row in rows] == ["web-1", "web-2", "web-9", "web-0"]
        assert len([role for role, _ in roles if role == "cell"]) == 6 * len(rows)
        assert ("cell", "drain by hand") in roles

    def test_motion_only_for_who_wants_it(self, chromium: Browser, stage: Stage) -> None:
        """A new row lights up, unless the reader asked for less motion."""
        for look, moves in ((Look(), True), (Look(still=True), False)):
            stage.status = quiet()
            chromium.look(stage.url, look)
            chromium.until(lambda _: stage.listeners, "the page to listen")
            stage.status = quiet(service("nodes", server("web-new"), server("web-1")))
            stage.tell(joined(5, "web-new", "ab12.9"))
            chromium.until(lambda page: "web-new" in page.text("#services"), "the new server")
            name = "return getComputedStyle(document.querySelector('tr[data-key=web-new]')).animationName"
            assert (chromium.evaluate(name) == "fresh") is moves
            chromium.evaluate("document.getAnimations().forEach((each) => each.pause())")
            stage.tell(joined(6, "web-2", "ab12.9"))
            chromium.until(lambda page: "web-2" in page.text("#changes"), "another update")
            assert (chromium.evaluate(name) == "fresh") is moves


TEXT_COLOURS = """
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
        if (!text || !element.checkVisibility() || element.closest("noscript")) continue;
        let behind = element;
        const backOf = (each) => parse(getComputedStyle(each).backgroundColor);
        while (behind.parentElement && backOf(behind)[3] === 0) behind = behind.parentElement;
        found.push([text, parse(getComputedStyle(element).color), backOf(behind)]);
    }
    return found;
"""
"""Each text with its colour and that of the nearest background."""


def contrast(front: list[float], back: list[float]) -> float:
    """The contrast of two colours by WCAG 2, 1 to 21."""
    lighter, darker = sorted((luminance(front), luminance(back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: list[float]) -> float:
    """How bright a colour is, 0 to 1."""
    parts = [part / 255 for part in colour[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_contrast_is_computed_as_the_standard_says() -> None:
    """Black on white is 21, one colour on itself 1, and the well-known grey just passes."""
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([9, 9, 9], [9, 9, 9]) == 1
    assert contrast([118, 118, 118], [255, 255, 255]) == pytest.approx(4.54, abs=0.01)
