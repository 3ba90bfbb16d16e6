"""How fast a node is asked: by what it answers."""

from streams.pace import Pace


def test_the_pace_follows_the_node() -> None:
    """Halved once for what went wrong together, paused twice as long each time, raised by successes up to its most."""
    pace = Pace(16)
    for _ in range(200):
        pace.succeeded()
    assert pace.allowed == 16
    pace.limited(100.0)
    pace.limited(100.1)
    assert pace.allowed == 8
    assert pace.resume_at == 100.5
    pace.limited(101.0)
    assert pace.allowed == 4
    assert pace.resume_at == 102.0
    for now in range(200, 1000, 100):
        pace.limited(now)
    assert pace.allowed == 1
    assert pace.resume_at == 960.0
