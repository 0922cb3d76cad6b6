"""STARTTLS that fails by itself (facts E3), not because of packet sizes."""

from lab.capture import Point
from lab.claims import every, tls_failed
from lab.incidents.draw import cast, mails, receiver, sender, sizes
from lab.plan import Fault, Log, Plan
from lab.router import Path
from lab.server import Behaviour, Tls

PLANS = {
    "no-common-ground": Plan(
        seed=6201,
        title="One server's mail leaves unencrypted",
        story="""\
The peer speaks TLS 1.2 only, and the sender has been told to use nothing below 1.3: a TLS handshake that fails
by policy, with an alert, within one round trip. Exim then delivers in clear (`tls_tempfail_tryclear`).
One should see the ClientHello arrive and the alert come back, nothing lost, nothing repeated; in the log `TLS
session: (gnutls_handshake)` and `delivering unencrypted`. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6201),
        paths={("sender", "broken"): Path(delay=0.019), ("sender", "healthy"): Path(delay=0.026)},
        servers={
            "sender": sender(
                "ports",
                zone="Europe/Helsinki",
                timeout=20,
                transport={"tls_require_ciphers": "NORMAL:-VERS-ALL:+VERS-TLS1.3"},
            ),
            "broken": receiver({"tls_require_ciphers": "NORMAL:-VERS-ALL:+VERS-TLS1.2"}, key="ec"),
            "healthy": receiver(key="ec"),
        },
        mails=mails(sizes(6201, 6, 480, 30000), sizes(6202, 6, 480, 40000), (900, 6000)),
        tail=5,
        faults=(Fault(cause="tls_handshake_failure", hits=every, severity="warn", shows=(tls_failed,)),),
    ),
    "hangs-up-on-hello": Plan(
        seed=6203,
        title="Nothing goes to one peer since encryption is required",
        story="""\
The peer answers `STARTTLS` with `220`, reads the ClientHello, and hangs up: its TLS is broken, and the sender
may not fall back to clear text (`hosts_require_tls`). One should see the small ClientHello arrive, be
acknowledged, and the connection closed by the server at once; no packet is lost. The other peer, with the same
requirement, takes all. `notebooks/1-incident.ipynb` shows it.""",
        hosts=cast(6203),
        paths={("sender", "broken"): Path(delay=0.007), ("sender", "healthy"): Path(delay=0.038)},
        servers={
            "sender": sender("processes", timeout=15, transport={"hosts_require_tls": "*"}),
            "broken": Behaviour(tls=Tls(refuse="close")),
            "healthy": receiver(key="rsa:2048"),
        },
        mails=mails(sizes(6203, 5, 480, 20000), sizes(6204, 7, 480, 50000)),
        queue_runs=1,
        rest=3,
        tail=5,
        captures=(Point(file="tls.pcap.gz"),),
        logs=(Log(file="main.log"),),
        faults=(Fault(cause="tls_handshake_failure", hits=every, shows=(tls_failed,)),),
    ),
}
