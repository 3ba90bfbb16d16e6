"""Deployments and burns inside of messages, counted by hand."""

from msgspec import structs

from processors.deployments import Deployed, deployed, sent_inside
from streams.records import Creation, InnerBurn
from tests.processors.test_folds import ALICE, BOB, CHILD, PERSON, POOL, TOKEN, message, tipset

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
