"""Drafts: which settings and template are in force, step by step."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.blueprint import Blueprint, Drafts
from rosterd.errors import TemplateError
from rosterd.render import Template, compile_template
from rosterd.settings import ServiceSettings, Settings


def template(source: str) -> Template:
    """Return a template that says this, and what HAProxy runs."""
    return compile_template(f"{source}\ndescription rosterd:{{{{ structure }}}}\n", "t.j2")


def blueprint(source: str) -> Blueprint:
    """Return a blueprint with this template."""
    return Blueprint.of(Settings(), template(source))


A, B, C = map(blueprint, "abc")


def proven() -> Drafts:
    """Return drafts that have A in force and nothing else."""
    drafts = Drafts(A, None)
    drafts.prove(A)
    return drafts


class TestBlueprint:
    """Settings and template together."""

    def test_it_carries_the_digest_of_both(self) -> None:
        """Another template or other settings: another structure."""
        api = ServiceSettings(name="api")
        names = template("{{ services[0].name }}")
        nodes = Blueprint.of(Settings(), names)
        assert nodes.structure != Blueprint.of(Settings(services=(api,)), names).structure
        assert A.structure != B.structure

    def test_equal_sources_make_equal_blueprints(self) -> None:
        """Compiled twice it is the same template; a file that was written again as it was is no edit."""
        assert blueprint("a") == A
        assert blueprint("a") is not A
        assert blueprint("b") != A

    def test_a_kept_copy_is_the_same_template(self) -> None:
        """The last good one lies in another file; beside it, an unchanged template is no draft on trial."""
        source = template("a").source
        kept = Blueprint.of(Settings(), compile_template(source, "last-good.cfg.j2"))
        assert kept == A
        assert Drafts(A, kept).good is None

    def test_a_template_that_cannot_be_rendered_makes_none(self) -> None:
        """The error names file and line."""
        with pytest.raises(TemplateError, match=r"t\.j2:1: 'nonsense' is undefined"):
            blueprint("{{ nonsense }}")

    def test_where_the_balancer_listens_is_read_from_all_its_binds(self) -> None:
        """Hosts, every address, ranges; a name or a path says nothing of an address."""
        settings = Settings.model_validate(
            {
                "proxy": {
                    "http_bind": ":80,[2001:db8::1]:8080,ipv4@10.0.0.7:90-91,name:1,*:82-83,:::84,2001:db8::1:85",
                    "stats_bind": "127.0.0.1:1936",
                    "runtime_bind": "",
                },
                "admin": {"listen": "unix:/run/rosterd/admin.sock"},
                "services": [
                    {"name": "web"},
                    {"name": "db", "mode": "tcp", "bind": ":5432"},
                    {"name": "cache", "mode": "tcp", "bind": "10.0.0.7:6379"},
                ],
            }
        )
        own, six, seven = ip_address("10.0.0.9"), ip_address("2001:db8::1"), ip_address("10.0.0.7")
        local = ip_address("127.0.0.1")
        explicit = {(six, 8080), (six, 85), (seven, 90), (seven, 91), (seven, 6379), (local, 1936)}
        made = Blueprint.of(settings, template("a"))
        by_bind = {(address, port) for address in (own, six, seven, local) for port in range(1, 10_000)}
        assert {at for at in by_bind if at in made.listens_at(frozenset())} == explicit
        every = {(own, port) for port in (80, 82, 83, 84, 5432)}
        assert {at for at in by_bind if at in made.listens_at(frozenset({own}))} == explicit | every


class TestStart:
    """A daemon that has just started."""

    def test_nothing_but_a_draft(self) -> None:
        """It goes on with it: there is nothing better."""
        drafts = Drafts(A, None)
        assert (drafts.in_force(0), drafts.newest, drafts.good) == (A, A, None)

    def test_beside_a_good_one_the_draft_is_tried(self) -> None:
        """An edit that was made while no daemon ran."""
        drafts = Drafts(B, A)
        assert (drafts.in_force(0), drafts.newest, drafts.good) == (B, B, A)

    def test_a_draft_that_was_good_before_has_to_prove_itself_again(self) -> None:
        """There is no other to fall back to."""
        drafts = Drafts(A, blueprint("a"))
        assert (drafts.in_force(0), drafts.good, drafts.draft) == (A, None, A)

    def test_a_rejected_draft_stays_where_there_is_no_good_one(self) -> None:
        """It may be HAProxy that is at fault, and there is nothing else."""
        drafts = Drafts(A, None)
        drafts.reject(A, "refused")
        assert (drafts.in_force(0), drafts.newest, drafts.error) == (A, A, "refused")

    def test_it_cannot_be_shelved_either(self) -> None:
        """There is nothing to go on with meanwhile."""
        drafts = Drafts(A, None)
        drafts.shelve(A, until=10, error="the reload failed")
        assert drafts.in_force(0) == A
        assert drafts.retry_at is None


class TestEdit:
    """An edit while a good blueprint is in force."""

    def test_it_becomes_the_draft_and_is_tried(self) -> None:
        """The good one waits in the background."""
        drafts = proven()
        drafts.propose(B)
        assert (drafts.in_force(0), drafts.newest, drafts.good) == (B, B, A)

    def test_it_is_good_when_it_has_proven_itself(self) -> None:
        """And no draft any more."""
        drafts = proven()
        drafts.propose(B)
        drafts.prove(B)
        assert (drafts.in_force(0), drafts.good, drafts.draft) == (B, B, None)

    def test_going_back_ends_the_draft(self) -> None:
        """The good one needs no new proof."""
        drafts = proven()
        drafts.propose(B)
        drafts.propose(blueprint("a"))
        assert (drafts.in_force(0), drafts.draft, drafts.newest) == (A, None, A)

    def test_a_newer_edit_takes_the_place_of_the_draft(self) -> None:
        """Only the newest counts."""
        drafts = proven()
        drafts.propose(B)
        drafts.propose(C)
        assert (drafts.in_force(0), drafts.newest) == (C, C)

    def test_the_proof_of_an_older_one_leaves_the_newest_a_draft(self) -> None:
        """The edit came while HAProxy was being reloaded."""
        drafts = proven()
        drafts.propose(B)
        drafts.propose(C)
        drafts.prove(B)
        assert (drafts.good, drafts.draft, drafts.in_force(0)) == (B, C, C)


class TestRejected:
    """HAProxy refuses an edit."""

    def test_the_good_one_stays_in_force(self) -> None:
        """Also over later changes of membership; what was wrong is kept for people."""
        drafts = proven()
        drafts.propose(B)
        drafts.reject(B, "line 7: unknown keyword")
        assert (drafts.in_force(0), drafts.in_force(1e9), drafts.newest, drafts.good) == (A, A, A, A)
        assert (drafts.rejected, drafts.error) == (B, "line 7: unknown keyword")
        assert drafts.retry_at is None

    def test_error_of_a_rejected_edit_stays_until_the_next_one_is_proven(self) -> None:
        """The next edit is tried at once; that the trouble is over is known when HAProxy runs it."""
        drafts = proven()
        drafts.propose(B)
        drafts.reject(B, "refused")
        drafts.propose(C)
        assert (drafts.in_force(0), drafts.error) == (C, "refused")
        drafts.prove(C)
        assert drafts.error == ""

    def test_error_of_the_next_edit_takes_the_place_of_the_first(self) -> None:
        """Only the newest edit's error is shown."""
        drafts = proven()
        drafts.refuse("line 3")
        drafts.propose(B)
        assert drafts.error == "line 3"
        drafts.reject(B, "refused")
        assert drafts.error == "refused"
        drafts.propose(C)
        drafts.shelve(C, until=10, error="the reload failed")
        assert drafts.error == "the reload failed"
        drafts.refuse("line 4")
        assert drafts.error == "line 4"
        drafts.confirm(C)
        drafts.prove(C)
        assert drafts.error == ""

    def test_going_back_to_a_rejected_edit_is_an_edit(self) -> None:
        """It is tried and told again: else it would stand in the file, not in force, and nobody would say so."""
        drafts = proven()
        drafts.propose(B)
        drafts.reject(B, "refused")
        drafts.propose(C)
        assert drafts.rejected is None
        drafts.propose(B)
        assert drafts.in_force(0) == B

    def test_going_back_to_the_good_one_ends_the_matter(self) -> None:
        """The files say what is in force."""
        drafts = proven()
        drafts.propose(B)
        drafts.reject(B, "refused")
        drafts.propose(A)
        assert (drafts.in_force(0), drafts.error, drafts.rejected) == (A, "", None)

    def test_rejecting_the_good_one_changes_nothing(self) -> None:
        """What HAProxy was proven to run is not given up for one refusal."""
        drafts = proven()
        drafts.reject(A, "refused")
        assert (drafts.in_force(0), drafts.good) == (A, A)

    def test_rejecting_an_older_edit_leaves_the_newest_a_draft(self) -> None:
        """It has not been tried yet."""
        drafts = proven()
        drafts.propose(B)
        drafts.propose(C)
        drafts.reject(B, "refused")
        assert drafts.in_force(0) == C

    def test_an_edit_that_makes_no_draft_is_told(self) -> None:
        """Settings or a template with a mistake: what is in force stays, and the next good edit clears it."""
        drafts = proven()
        drafts.propose(C)
        drafts.reject(C, "refused")
        drafts.refuse("t.j2:3: unexpected end")
        assert drafts.rejected is None, "going back to it is an edit"
        assert (drafts.in_force(0), drafts.error) == (A, "t.j2:3: unexpected end")
        drafts.propose(A)
        assert drafts.error == ""


class TestShelved:
    """A reload with a draft failed: the good one goes on until the next try."""

    def test_until_then_the_good_one_is_in_force(self) -> None:
        """From then on the draft again."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(B, until=10, error="the reload failed")
        assert drafts.retry_at == 10
        assert (drafts.in_force(9.9), drafts.in_force(10)) == (A, B)
        assert (drafts.newest, drafts.error) == (B, "the reload failed")

    def test_proof_ends_it(self) -> None:
        """The next try worked."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.prove(B)
        assert (drafts.in_force(0), drafts.retry_at, drafts.error) == (B, None, "")

    def test_proof_of_the_good_one_does_not(self) -> None:
        """HAProxy runs it meanwhile, and the draft waits."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.prove(A)
        assert (drafts.in_force(9.9), drafts.in_force(10), drafts.retry_at) == (A, B, 10)

    def test_an_edit_ends_it(self) -> None:
        """The new draft is tried at once."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.propose(C)
        assert (drafts.in_force(0), drafts.retry_at) == (C, None)

    def test_rejection_ends_it(self) -> None:
        """There is nothing to try again."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.reject(B, "refused")
        assert (drafts.in_force(99), drafts.retry_at) == (A, None)

    def test_only_the_draft_is_shelved(self) -> None:
        """A failed reload of the good one is tried again as it is."""
        drafts = proven()
        drafts.propose(B)
        drafts.shelve(A, until=10, error="the reload failed")
        assert drafts.in_force(0) == B


steps = st.lists(st.sampled_from([A, B, C, "prove", "reject", "shelve"]), max_size=12)


@given(st.sampled_from([A, B]), st.sampled_from([None, A, B]), steps)
def test_there_is_always_something_in_force(
    draft: Blueprint, good: Blueprint | None, taken: list[Blueprint | str]
) -> None:
    """After any edits, proofs and refusals; and never what was refused last, where there is anything better."""
    drafts = Drafts(draft, good)
    for now, step in enumerate(taken):
        tried = drafts.in_force(now)
        match step:
            case Blueprint():
                drafts.propose(step)
            case "prove":
                drafts.prove(tried)
            case "reject":
                drafts.reject(tried, "refused")
            case _:
                drafts.shelve(tried, until=now + 2, error="the reload failed")
        assert drafts.in_force(now) in (drafts.draft, drafts.good)
        assert drafts.newest == (drafts.draft or drafts.good)
        if step == "reject" and drafts.good not in (None, tried):
            assert drafts.in_force(now) == drafts.in_force(now + 99) == drafts.good


class TestErrors:
    """Why the newest edit is not in force: the edit's own error goes before the draft's."""

    def test_a_later_mistake_hides_the_draft_s_error_until_it_is_taken_back(self) -> None:
        """Nothing that happens to the draft clears what is wrong with the file."""
        drafts = Drafts(B, A)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.refuse("the file is broken")
        assert drafts.error == "the file is broken"
        drafts.confirm(B)
        assert drafts.error == "the reload failed"
        drafts.refuse("the file is broken")
        drafts.prove(B)
        assert drafts.error == "the file is broken"

    def test_going_back_to_the_good_one_clears_all(self) -> None:
        """There is nothing left that is not in force."""
        drafts = Drafts(B, A)
        drafts.reject(B, "refused")
        drafts.confirm(A)
        assert drafts.error == ""

    def test_a_retry_forgets_what_failed(self) -> None:
        """What was rejected may be proposed again, what was shelved is in force at once."""
        drafts = Drafts(B, A)
        drafts.shelve(B, until=10, error="the reload failed")
        drafts.retry()
        assert drafts.in_force(0) == B

    def test_an_edit_that_was_taken_back_and_is_made_again_is_tried_again(self) -> None:
        """It is an edit like any other, and is told again why it is refused."""
        drafts = Drafts(B, A)
        drafts.reject(B, "refused")
        drafts.confirm(B)
        assert drafts.rejected == B
        drafts.confirm(A)
        assert drafts.rejected is None
