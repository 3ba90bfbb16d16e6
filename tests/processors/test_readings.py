from tests.processors.snapshots import window


def test_null_rounds_are_known_epochs() -> None:
    """Coverage counts null rounds like processed ones."""
    assert window(processed=10, null=5).coverage == 0.75
    assert window(prior_processed=4, prior_null=1).prior_coverage == 0.25
