"""What happens in the demo. A step does one thing to the cluster, waits for its effect on traffic, and says how long.

Rules: a step returns the seconds from its change to the moment when traffic had followed, or raises
`WaitedInVainError` or `StepFailedError`; each wait has a deadline and names what it waits for; "followed" is read from
the requests themselves wherever they can tell. The load runs on during a step, and each of its requests counts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compose.demo.step import Step, StepFailedError
from compose.load import first_answer, first_mark, last_answer, settled_below, share
from compose.waiting import ask_until

if TYPE_CHECKING:
    from compose.demo.context import Context
    from compose.demo.stage import Spot

DEADLINE_S = 20.0
SHARE_WINDOW_S = 1.0
USUAL_WEIGHT = 100
LIGHT_WEIGHT = 10
MARK = "edited"


async def start_cluster(context: Context) -> float:
    """Start two web nodes, then the balancer, and start the load when both answer."""
    begin = context.now()
    context.welcome(await context.stage.start())
    seen: set[str] = set()

    async def both_answer() -> bool:
        answer = await context.fetch()
        if answer is not None and answer.status == 200:
            seen.add(answer.headers.get("x-backend-ip", ""))
        return {node.address for node in context.web} <= seen

    await ask_until(both_answer, DEADLINE_S, "both web nodes to answer through the balancer")
    context.stage.require_own()
    took = context.now() - begin
    context.start_load()
    context.note("both answer through the balancer; requests flow from here on, 100 a second")
    return took


async def add_nodes(context: Context) -> float:
    """Add three nodes at once."""
    begin = context.now()
    joining = await context.stage.add_web(3)
    context.welcome(joining)
    times = [await first_answer_of(context, node, begin) for node in joining]
    return max(times) - begin


async def first_answer_of(context: Context, node: Spot, begin: float) -> float:
    """When a node gave its first answer to a request sent since then."""
    at = await context.until_seen(
        lambda: first_answer(context.samples, node.address, begin), DEADLINE_S, f"the first answer of {node.name}"
    )
    context.note(f"{node.name} gave its first answer after {at - begin:.2f} s")
    return at


async def stop_node(context: Context) -> float:
    """Stop the newest node in order: Serf leaves, traffic goes elsewhere, the app ends."""
    node = context.web.pop()
    begin = context.now()
    took = await context.stage.stop(node)
    await wait_until_removed(context, node)
    last = last_request_of(context, node, begin)
    context.note(f"{node.name} got its last request after {last - begin:.2f} s and had ended after {took:.2f} s")
    if last - begin > took:
        raise StepFailedError(f"{node.name} answered after it had ended")
    return last - begin


def last_request_of(context: Context, node: Spot, begin: float) -> float:
    """When the last request was sent that a node answered; at least `begin`, when the change was made.

    Raises:
        StepFailedError: the node answered nothing just before the change, so that the change proves nothing.
    """
    last = last_answer(context.samples, node.address)
    if last is None or last < begin - SHARE_WINDOW_S:
        raise StepFailedError(f"{node.name} answered no request in the second before the change")
    return max(last, begin)


async def wait_until_removed(context: Context, node: Spot) -> None:
    """Wait until HAProxy has no server for a node."""

    async def has_no_server() -> bool:
        return await context.server_of(node) is None

    await ask_until(has_no_server, DEADLINE_S, f"HAProxy to drop the server of {node.name}")


async def kill_node(context: Context) -> float:
    """Kill a node with all its processes; HAProxy has to notice, for gossip takes seconds."""
    node = context.web.pop()
    server = await context.server_of(node)
    if server is None or not server.is_up:
        raise StepFailedError(f"HAProxy has no server of {node.name} that is up, before it is killed")
    begin = context.now()
    await context.stage.kill(node)

    async def gets_no_traffic() -> bool:
        server = await context.server_of(node)
        return server is None or not server.is_up

    await ask_until(gets_no_traffic, DEADLINE_S, f"HAProxy to take the server of {node.name} out")
    took = context.now() - begin
    context.note(f"{node.name} was killed and could not leave; HAProxy sent it nothing more after {took:.2f} s")
    return took


async def drain_node(context: Context) -> float:
    """Drain a node with one command on the balancer, and bring it back with another."""
    node = context.web[0]
    begin = context.now()
    await context.stage.tell(node, "drain")

    async def weighs_nothing() -> bool:
        server = await context.server_of(node)
        return server is not None and server.weight == 0

    await ask_until(weighs_nothing, DEADLINE_S, f"HAProxy to give {node.name} no new requests")
    drained = context.now()
    await asyncio.sleep(SHARE_WINDOW_S)
    if first_answer(context.samples, node.address, drained) is not None:
        raise StepFailedError(f"{node.name} got a request although it drains")
    last = last_request_of(context, node, begin)
    back = context.now()
    await context.stage.tell(node, "ready")
    first = await context.until_seen(
        lambda: first_answer(context.samples, node.address, back), DEADLINE_S, f"{node.name} to be back"
    )
    context.note(f"{node.name} got its last request after {last - begin:.2f} s; told to be ready, it answered again")
    context.note(f"after {first - back:.2f} s. Both include the start of a command")
    return last - begin


async def change_weight(context: Context) -> float:
    """Give a node a tenth of its weight by tag."""
    node, others = context.web[0], len(context.web) - 1
    before = share(context.samples, node.address, context.now() - SHARE_WINDOW_S, context.now())
    if not before:
        raise StepFailedError(f"{node.name} answered no request in the second before its weight changes")
    expected = LIGHT_WEIGHT / (LIGHT_WEIGHT + USUAL_WEIGHT * others)
    begin = context.now()
    await context.stage.set_tags(node, {"weight": str(LIGHT_WEIGHT)})

    async def weight_is_set() -> bool:
        server = await context.server_of(node)
        return server is not None and server.weight == LIGHT_WEIGHT

    await ask_until(weight_is_set, DEADLINE_S, f"HAProxy to give {node.name} the weight {LIGHT_WEIGHT}")
    followed = await context.until_seen(
        lambda: settled_below(context.samples, node.address, begin, SHARE_WINDOW_S, 2 * expected),
        DEADLINE_S,
        f"the share of {node.name} to fall from {before:.0%} to about {expected:.0%}",
    )
    after = share(context.samples, node.address, followed, followed + SHARE_WINDOW_S)
    context.note(f"{node.name} has {after:.0%} of the requests instead of {before:.0%}")
    return followed - begin


async def edit_template(context: Context) -> float:
    """Add a response header to the template while everything runs."""
    text = context.site.template.read_text(encoding="utf-8")
    begin = context.now()
    context.write_template(with_header(text))
    seen = await context.until_seen(
        lambda: first_mark(context.samples, MARK, begin), DEADLINE_S, "an answer with the new header"
    )
    context.note(f"the first answer with the new header x-demo came after {seen - begin:.2f} s")
    return seen - begin


async def break_template(context: Context) -> float:
    """Break the template: it must be reported, and change nothing. Then repair it."""
    good = context.site.template.read_text(encoding="utf-8")
    before = await context.master()
    begin = context.now()
    context.write_template(good + "{% if a_tag_that_never_ends %}\n")

    async def reported() -> bool:
        return bool(await _template_error(context))

    try:
        await ask_until(reported, DEADLINE_S, "rosterd to report the broken template")
        took = context.now() - begin
        context.note(f"refused after {took:.2f} s: {_last_line(await _template_error(context))}")
        await asyncio.sleep(SHARE_WINDOW_S)
        if await context.master() != before:
            raise StepFailedError("HAProxy was reloaded although the template is broken")
        await _served_with_mark(context, begin)
    finally:
        context.write_template(good)

    async def repaired() -> bool:
        return bool(await context.status()) and not await _template_error(context)

    await ask_until(repaired, DEADLINE_S, "rosterd to take the repaired template")
    return took


async def _served_with_mark(context: Context, since: float) -> None:
    answers = [sample for sample in context.samples if sample.sent >= since and sample.failure is None]
    if not answers or any(sample.mark != MARK for sample in answers):
        raise StepFailedError("the last good template was not served throughout")


async def _template_error(context: Context) -> str:
    return str((await context.status()).get("blueprint", {}).get("error", ""))


async def restart_daemon(context: Context) -> float:
    """Restart rosterd; HAProxy goes on, with neither a reload nor a new worker."""
    before = await context.master()
    old = (await context.status()).get("pid")
    if old is None:
        raise StepFailedError("rosterd does not answer, before it is restarted")
    begin = context.now()
    await context.stage.restart_daemon()

    async def ready_again() -> bool:
        status = await context.status()
        return status.get("ready") is True and status.get("pid") != old

    await ask_until(ready_again, DEADLINE_S, "the new rosterd to be ready")
    took = context.now() - begin
    context.note(f"a new process was ready after {took:.2f} s; requests never stopped")
    await asyncio.sleep(SHARE_WINDOW_S)
    if await context.master() != before:
        raise StepFailedError("HAProxy was reloaded although nothing had changed")
    return took


FOLLOWED = "traffic followed"
STEPS = (
    Step("the cluster starts", "a balancer, two web nodes, any order", FOLLOWED, start_cluster, 1.5),
    Step("three nodes join", "at once", FOLLOWED, add_nodes, 1.0),
    Step("one node stops in order", "Serf leaves, then the app finishes and ends", FOLLOWED, stop_node, 1.0),
    Step("one node is killed", "SIGKILL to all its processes", FOLLOWED, kill_node, 2.0),
    Step("a node is drained", "`rosterd drain`, then `rosterd ready`", FOLLOWED, drain_node, 0.5),
    Step("a tag changes a weight", f"from {USUAL_WEIGHT} to {LIGHT_WEIGHT}", FOLLOWED, change_weight, 0.5),
    Step("the template is edited", "one more response header", FOLLOWED, edit_template, 0.5, most_reloads=1),
    Step("the template is broken", "an edit that cannot work", "reported, traffic unaffected", break_template, 0.5),
    Step("the daemon restarts", "while HAProxy serves", "ready again, traffic unaffected", restart_daemon, 0.5),
)


def with_header(template: str) -> str:
    """The template with a response header more, right below the line that opens the traffic frontend."""
    lines = template.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.startswith("frontend "):
            header = f"    http-response set-header x-demo {MARK}\n"
            return "".join([*lines[: number + 1], header, *lines[number + 1 :]])
    raise StepFailedError("the template has no frontend to edit")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
