from __future__ import annotations

from ftweb.relay.bucket import TokenBucket


def test_burst_then_rate() -> None:
    bucket = TokenBucket(rate=10, burst=5, now=0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not bucket.take(0.05)
    assert bucket.take(0.11)
    assert not bucket.take(0.11)


def test_patience_is_bounded() -> None:
    bucket = TokenBucket(rate=10, burst=5, now=0.0)
    assert sum(bucket.take(1000.0) for _ in range(20)) == 5


def test_another_rate_counts_at_once() -> None:
    bucket = TokenBucket(rate=1, burst=1, now=0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.0)
    bucket.change(rate=100, burst=200)
    assert sum(bucket.take(0.0) for _ in range(300)) == 200
