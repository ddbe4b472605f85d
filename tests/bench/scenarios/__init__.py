"""The scenarios, in the order in which they run and are shown."""

from tests.bench.scenarios import burst, churn, cost, crash, membership, template
from tests.bench.scenarios.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    membership.SCENARIO,
    crash.SCENARIO,
    churn.SCENARIO,
    burst.SCENARIO,
    template.SCENARIO,
    cost.SCENARIO,
)
