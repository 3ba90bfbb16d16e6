"""Deployments and burns inside of messages, counted by hand."""

from collections import Counter

import pytest
from msgspec import structs

from processors.classify import Classifier, Contracts
from processors.deployments import Deployed, deployed, sent_inside
from processors.folds import Contribution, fold_tipset
from streams.answers import Answers, Limits
from streams.enrich import assemble, build
from streams.memory import Memory
from streams.recording import load
from streams.records import Creation, InnerBurn
from streams.traces import Tracing
from tests.node.asking import ask, by_recording
from tests.processors.test_folds import ALICE, BOB, CHILD, PERSON, POOL, TOKEN, message, tipset
from tests.recount import Recount
from tests.test_recount import BUNDLED

CODE, OTHER = "0x" + "cc" * 32, "0x" + "dd" * 32


def test_direct_and_internal_creations() -> None:
    """Codes and deployers count once; the deployer is who sent the message, whoever made the contract."""
    record = tipset(message(ALICE, None, creates=True, created=TOKEN), message(BOB, POOL), message(BOB, POOL))
    made = (Creation(TOKEN, ALICE, CODE, 0, False), Creation(CHILD, POOL, CODE, 1, True), Creation(PERSON, POOL, OTHER, 2, True))
    assert deployed(structs.replace(record, creations=made)) == Deployed(1, 2, frozenset({CODE, OTHER}), frozenset({ALICE, BOB}))


def test_an_older_record_tells_what_messages_made() -> None:
    """A newer one that made nothing new made nothing."""
    record = tipset(message(ALICE, None, creates=True, created=TOKEN), message(BOB, None, creates=True, ok=False), message(BOB, POOL))
    assert deployed(record) == Deployed(1, 0, frozenset(), frozenset({ALICE}))
    assert deployed(structs.replace(record, creations=())) == Deployed()


def test_burns_inside_are_fevms_where_the_message_is() -> None:
    """Calls to contracts and creations are; what a native message burns on its way is not."""
    record = tipset(message(ALICE, POOL), message(ALICE, PERSON), message(ALICE, None, creates=True))
    burns = (InnerBurn(0, 1), InnerBurn(1, 10), InnerBurn(2, 100))
    assert sent_inside(structs.replace(record, inner_burns=burns), {POOL}) == (111, 101)
    assert sent_inside(record, {POOL}) == (0, 0)


def test_a_place_beyond_the_messages_does_no_harm() -> None:
    """A record that was made badly is counted as far as it goes."""
    record = structs.replace(tipset(), creations=(Creation(TOKEN, POOL, None, 7, True),), inner_burns=(InnerBurn(7, 3),))
    assert deployed(record) == Deployed(0, 1)
    assert sent_inside(record, {POOL}) == (3, 0)


@pytest.mark.parametrize("native", [True, False])
def test_a_recorded_chain_ends_in_the_recount(native: bool) -> None:
    """Every tipset of a real node: deployments of both kinds, codes, deployers, traces and burns as a naive count finds them."""
    recording = load("devnet")
    answers, now = Answers(recording, Limits(eth_only=not native)), recording.seconds
    chain, memory, tracing, classifier = answers.canonical(now), Memory(), Tracing(), Classifier(Contracts())
    folded: dict[int, Contribution] = {}
    for place, link in enumerate(chain):
        child = chain[place + 1] if place + 1 < len(chain) else None
        one = ask(assemble(link, child, memory, native=native, tracing=tracing), by_recording(answers, now))
        record, _ = build(one, memory, network="devnet", sequence=place, parent_height=None, noticed_at=0.0)
        folded[link.height] = fold_tipset(record, classifier)
    recount = Recount(BUNDLED, lambda _: "unknown", native=native)
    for epochs in (20, 120, 400):
        expected = recount.figures(epochs)
        inside = [part for height, part in folded.items() if expected["head"] - epochs < height <= expected["head"]]
        sums = Counter[str]()
        for part in inside:
            sums.update(part.sums)
            sums.update(part.lasting_sums)
        members = {kind: set().union(*(part.lasting_members.get(kind, ()) for part in inside)) for kind in ("deployed_code", "deployer")}
        assert (sums["deployments:direct"], sums["deployments:internal"]) == (expected["deployments"], expected["internal"])
        assert (sums["traced"], sums["unreconciled"]) == (expected["traced"], 0)
        assert sums["f099_sent"] == (expected["sent"] + expected["sent_inside"] if native else 0)
        assert (len(members["deployed_code"]), members["deployer"]) == (len(expected["codes"]), expected["deployers"])
    assert expected["internal"] > expected["deployments"] > 0
