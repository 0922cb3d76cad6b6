"""The plans of all incidents, a file for each family of causes: plain data; the seed fixes what is drawn."""

from lab.incidents import (
    connecting,
    content,
    controls,
    extensions,
    far_end,
    middlebox,
    packet_size,
    undecided,
)

PLANS = {
    **connecting.PLANS,
    **content.PLANS,
    **controls.PLANS,
    **extensions.PLANS,
    **far_end.PLANS,
    **middlebox.PLANS,
    **packet_size.PLANS,
    **undecided.PLANS,
}
