"""Draws what does not matter for a fault, so that incidents do not resemble one another."""

import ipaddress
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from lab.mail import Settings
from lab.messages import Body
from lab.namespaces import Host
from lab.plan import Mail

HOSTS = (
    "mail",
    "mx",
    "mx1",
    "mx2",
    "mx-a",
    "smtp",
    "relay",
    "in",
    "out",
    "post",
    "mta",
    "mailhub",
    "gate",
    "mail3",
)
DOMAINS = (
    *("example.org", "example.net", "example.com", "uni.example.org", "city.example.net", "shop.example.com"),
    *("north.example.org", "press.example.net", "dept4.example.com"),
)
NETWORKS = {
    4: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    6: ("2001:db8:10::/64", "2001:db8:2050::/64", "2001:db8:cafe::/64"),
}
# What administrators have: from Exim's default to all that the documentation of joins asks for.
SELECTORS = MappingProxyType(
    {
        "default": "",
        "milliseconds": "+millisec",
        "ports": "+millisec +outgoing_port",
        "times": "+deliver_time +queue_time",
        "processes": "+millisec +pid +smtp_connection",
        "full": "+millisec +pid +incoming_interface +incoming_port +outgoing_interface +outgoing_port "
        "+smtp_connection +smtp_incomplete_transaction +smtp_no_mail +deliver_time +receive_time +queue_time "
        "+delivery_size +pipelining +protocol_detail",
    }
)
NO_CHUNKING = MappingProxyType({"chunking_advertise_hosts": ""})
ANY_LINE = MappingProxyType({"message_linelength_limit": "100000"})


def cast(seed: int, *roles: str, version: int = 4) -> tuple[Host, ...]:
    """Draw names and addresses; without roles those of a sender, a broken and a healthy peer."""
    rng = random.Random(seed)
    roles = roles or ("sender", "broken", "healthy")
    domains = rng.sample(DOMAINS, len(roles))
    networks = [ipaddress.ip_network(each) for each in rng.sample(NETWORKS[version], len(NETWORKS[version]))]
    return tuple(
        Host(
            role,
            f"{rng.choice(HOSTS)}.{domain}",
            str(networks[min(at, 2)][rng.randint(2, 254) if version == 4 else rng.randint(2, 65000)]),
        )
        for at, (role, domain) in enumerate(zip(roles, domains, strict=True))
    )


def tuned(role: str, sysctl: Mapping[str, str], hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    """Set kernel parameters of one of the hosts, those under net.ipv4."""
    named = {f"net.ipv4.{key}": value for key, value in sysctl.items()}
    return tuple(replace(host, sysctl=named) if host.role == role else host for host in hosts)


def sender(
    selector: str,
    *,
    zone: str = "UTC",
    main: Mapping[str, str] = MappingProxyType({}),
    transport: Mapping[str, str] = MappingProxyType({}),
    timeout: int | None = None,
    final: int | None = None,
    key: str = "",
    syslog: bool = False,
) -> Settings:
    """Set up the Exim that sends; timeouts [s] are Exim's own unless given."""
    options = {"timezone": zone, **main}
    if SELECTORS[selector]:
        options["log_selector"] = SELECTORS[selector]
    timeouts = {}
    if timeout is not None:
        timeouts = {f"{name}_timeout": f"{timeout}s" for name in ("connect", "command", "data")}
        timeouts["final_timeout"] = f"{timeout if final is None else final}s"
    return Settings(main=options, transport={**timeouts, **transport}, port=587, key=key, syslog=syslog)


def receiver(main: Mapping[str, str] = MappingProxyType({}), *, zone: str = "UTC", key: str = "") -> Settings:
    """Set up an Exim that only receives."""
    return Settings(main={"timezone": zone, **main}, key=key)


def mails(
    broken: tuple[int, ...], healthy: tuple[int, ...], both: tuple[int, ...] = (), body: Body | None = None
) -> tuple[Mail, ...]:
    """List messages by their sizes."""
    body = body or Body()
    return (
        *(Mail(size, ("broken",), body) for size in broken),
        *(Mail(size, ("healthy",), body) for size in healthy),
        *(Mail(size, ("broken", "healthy"), body) for size in both),
    )


def sizes(seed: int, count: int, low: int, high: int) -> tuple[int, ...]:
    """Draw sizes of messages, as many small as large ones in a logarithmic sense."""
    rng = random.Random(seed)
    return tuple(round(math.exp(rng.uniform(math.log(low), math.log(high)))) for _ in range(count))
