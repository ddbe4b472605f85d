"""What the daemon answers: JSON made of a report, and the way back from a list of members.

Pure. `shapes` says what fields there are; `status`, `members` and `plan` make them. `states`, which the daemon has no
use for, makes what a command answers about nodes.
"""

from rosterd.answers.members import members_answer, records_of
from rosterd.answers.plan import dry_run_answer, plan_answer
from rosterd.answers.shapes import Alive, DryRun, Members, Plan, Ready, Status
from rosterd.answers.status import ready_answer, status_answer

__all__ = [
    "Alive",
    "DryRun",
    "Members",
    "Plan",
    "Ready",
    "Status",
    "dry_run_answer",
    "members_answer",
    "plan_answer",
    "ready_answer",
    "records_of",
    "status_answer",
]
