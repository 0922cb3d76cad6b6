"""From packets and payload to what was said: SMTP sessions, transactions, dialogue, and the messages.

`listen` takes batches as a `capture.Reader` yields them. Payload passes by: only short lines and counters are
kept; `texts` reads some messages again. All of it obeys f(a + b) = f(a) + f(b) where a and b share no
connection.
"""

from smtpkit.smtp.streams import Heard, Streams, listen
from smtpkit.smtp.texts import texts

__all__ = ["Heard", "Streams", "listen", "texts"]
