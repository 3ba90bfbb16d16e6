from processors.row import Row


def test_chain_series_carry_the_network() -> None:
    """All but what belongs to the process."""
    row = Row(metric="fvm_x", help="X.", unit="gas", group="gas", samples=None, labels=("window",))
    own = Row(metric="pulse_redis_up", help="X.", unit="state", group="pipeline", samples=None)
    assert row.all_labels == ("network", "window")
    assert own.all_labels == ()
