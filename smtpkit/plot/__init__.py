"""Pictures: tables in, Axes out. What is drawn was computed elsewhere; here it gets its place and its colour.

Tables come first, the rest by keyword; each function draws on `ax`, or on a figure of its own. The label of
the Axes (``ax.get_label()``) says in words what is drawn, for those who do not see it. Where there is nothing
to draw it says that, and ``ax.has_data()`` is False.

The colours are those of Okabe and Ito, which the colour-blind tell apart; each has a marker or a line of its
own besides, so that a print in grey can be read. A million rows take seconds: all marks of a kind are one
artist, drawn as pixels in a PDF too.
"""

from matplotlib.axes import Axes

from smtpkit.plot.attempts_by_size import attempts_by_size
from smtpkit.plot.canvas import png
from smtpkit.plot.failure_by_feature import failure_by_feature
from smtpkit.plot.hexdump import hexdump
from smtpkit.plot.loss_by_size import loss_by_size
from smtpkit.plot.packet_sizes import packet_sizes
from smtpkit.plot.smtp_ladder import smtp_ladder
from smtpkit.plot.stall_overview import stall_overview
from smtpkit.plot.time_sequence import time_sequence
from smtpkit.plot.timeline import timeline

__all__ = [
    "Axes",
    "attempts_by_size",
    "failure_by_feature",
    "hexdump",
    "loss_by_size",
    "packet_sizes",
    "png",
    "smtp_ladder",
    "stall_overview",
    "time_sequence",
    "timeline",
]
