"""How long to wait before asking a server again. Pure functions; nothing here sleeps."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def backoff_s(attempt: int, uniform: float, *, base_s: float, cap_s: float) -> float:
    """Seconds to wait after failure number `attempt`, from 0.

        wait = min(cap, base * 2^attempt) * (1 + u) / 2

    Args:
        attempt: failures before this one.
        uniform: u in [0, 1); it spreads clients that failed together.
        base_s: seconds after the first failure, at most.
        cap_s: the most.

    Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), equal jitter.
    """
    return float(min(cap_s, base_s * 2.0 ** min(attempt, 64)) * (1.0 + uniform) / 2.0)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds a `Retry-After` header asks for; None when there is none or it cannot be read.

    Args:
        header: a number of seconds, or a date.
        now: with its time zone.

    Source: RFC 9110, section 10.2.3.
    """
    if re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", header):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):  # a header is whatever the server writes
        return None
