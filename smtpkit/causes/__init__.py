"""The causes that `findings` weighs, one file for each."""

from smtpkit.causes import (
    close_after_data,
    connect_failure,
    content_pattern_drop,
    fragment_loss,
    long_line_close,
    nul_byte_drop,
    packet_loss,
    pmtu_black_hole,
    receiver_stall,
    remote_timeout,
    size_limit_close,
    smtp_rejection,
    split_dot,
    state_loss,
    tls_handshake_failure,
    window_scaling,
)
from smtpkit.causes.cause import Case, Cause

CAUSES: tuple[Cause, ...] = (
    pmtu_black_hole.CAUSE,
    fragment_loss.CAUSE,
    nul_byte_drop.CAUSE,
    content_pattern_drop.CAUSE,
    long_line_close.CAUSE,
    size_limit_close.CAUSE,
    close_after_data.CAUSE,
    remote_timeout.CAUSE,
    receiver_stall.CAUSE,
    state_loss.CAUSE,
    packet_loss.CAUSE,
    split_dot.CAUSE,
    window_scaling.CAUSE,
    smtp_rejection.CAUSE,
    tls_handshake_failure.CAUSE,
    connect_failure.CAUSE,
)

__all__ = ["CAUSES", "Case", "Cause"]
