from streams.account import Account, Endpoint, PastReorg, read
from streams.events import Dropped, Event, Live, LogMismatch, Reorg


def test_it_follows_the_events() -> None:
    """Endpoints come and go, and each return counts; the newest reorgs stay, newest first; the rest changes nothing."""
    account = Account()
    events: list[Event] = [Live("own", native=True), Dropped("own", "gone", refused=False), Live("own", native=True), LogMismatch(7)]
    for at_seconds, event in enumerate(events):
        account = account.after(event, at_seconds)
    account = account.after(Dropped("other", "refused", refused=True), 9)
    assert account.endpoints == {"own": Endpoint(up=True, connections=2, native=True), "other": Endpoint()}
    assert account.endpoints["own"].reconnects == 1
    assert account.endpoints["other"].reconnects == 0
    for depth in range(1, 8):
        account = account.after(Reorg(depth), 10 * depth)
    assert [reorg.depth_epochs for reorg in account.reorgs] == [7, 6, 5, 4, 3]
    assert account.reorgs[0] == PastReorg(70, 7)


def test_a_fact_and_back() -> None:
    """What is written is read again, with the time at which it was told; anything else is no account."""
    account = Account(endpoints={"own": Endpoint(up=True, connections=1)}, reorgs=(PastReorg(5, 2),))
    told = read(account.fact(99))
    assert told is not None
    assert (told.at_seconds, told.endpoints, told.reorgs) == (99, account.endpoints, account.reorgs)
    assert read(None) is None
    assert read("{}") == Account()
    assert read('{"endpoints": 1}') is None
    assert read("none") is None
