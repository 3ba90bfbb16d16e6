"""Publication: numbers only grow, over incarnations too, and a tipset bears the time of its first notice."""

from streams.chain import Link
from streams.enrich import Assembled
from streams.memory import Memory
from streams.publication import COUNTER_BITS, Publication
from streams.records import LogsRecord, Rewind, TipsetRecord
from streams.wire import EthBlock


def assembled(height: int) -> Assembled:
    """A tipset without messages."""
    block = EthBlock(f"0x{height:064x}", f"0x{height - 1:064x}", hex(height), hex(30 * height), "0x64", [])
    return Assembled(Link(height, block.hash, block.parent_hash), block, {}, None, None)


def test_numbers_grow_over_incarnations() -> None:
    """Every record has a larger number than all before, and a later incarnation's are larger than all of an earlier one."""
    numbers = []
    for incarnation in (7, 8):
        publication = Publication()
        publication.resume(incarnation)
        publication.rewind("net", 4, 9)
        publication.publish("net", assembled(5), Memory(), 4, 100.0)
        assert [type(record) for record in publication.queue] == [Rewind, Rewind, Rewind, TipsetRecord, LogsRecord]
        numbers += [record.sequence for record in publication.queue]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 7 << COUNTER_BITS


def test_the_first_notice_counts() -> None:
    """A tipset bears the time at which it was first announced; one that nobody announced, the time of its publication."""
    publication = Publication()
    publication.notice(assembled(5).link.hash, 50.0)
    publication.notice(assembled(5).link.hash, 60.0)
    publication.notice(assembled(6).link.hash, 61.0)
    publication.forget({assembled(5).link.hash})
    for height in (5, 6):
        publication.publish("net", assembled(height), Memory(), None, 100.0)
    tipsets = [record for record in publication.queue if isinstance(record, TipsetRecord)]
    assert [record.noticed_at for record in tipsets] == [50.0, 100.0]
    assert tipsets[0].parent_height is None


def test_a_second_read_has_no_notice() -> None:
    """What is published without a time bears none, also where another node announced it after its first publication."""
    publication = Publication()
    publication.notice(assembled(5).link.hash, 50.0)
    publication.publish("net", assembled(5), Memory(), 4, 100.0)
    publication.notice(assembled(5).link.hash, 101.0)
    publication.publish("net", assembled(5), Memory(), 4, 0.0)
    assert [record.noticed_at for record in publication.queue if isinstance(record, TipsetRecord)] == [50.0, 0.0]
