"""Where links may lead."""

from collections.abc import Iterable

from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.urls import host_of

__all__ = ["Scope"]


class Scope:
    """Tells which hosts belong to a crawl.

    Args:
        settings: scope and domains.
        hosts: authorities that belong to it from the beginning.
    """

    def __init__(self, settings: ScrapeSettings, hosts: Iterable[str] = ()) -> None:
        self._is_anywhere = settings.scope == "any"
        self._with_subdomains = settings.scope == "domain"
        self._domains = {domain.lower().strip(".") for domain in settings.domains}
        self._hosts: dict[str, bool] = {}
        for host in hosts:
            self.widen(host)

    def widen(self, authority: str) -> bool:
        """Adds the host of a starting URL; tells whether that is new."""
        if self._hosts.get(authority) and not self._with_subdomains:
            return False
        if self._with_subdomains:
            domain = host_of(authority).removeprefix("www.")
            if domain in self._domains:
                return False
            self._domains.add(domain)
        self._hosts = {host: inside for host, inside in self._hosts.items() if inside}
        self._hosts[authority] = True
        return True

    def holds(self, authority: str) -> bool:
        """Whether a host belongs to the crawl."""
        inside = self._hosts.get(authority)
        if inside is None:
            inside = self._is_anywhere or self._is_of_a_domain(host_of(authority))
            if inside or len(self._hosts) < MAX_OUTSIDE:
                self._hosts[authority] = inside
        return inside

    def _is_of_a_domain(self, host: str) -> bool:
        while host:
            if host in self._domains:
                return True
            host = host.partition(".")[2]
        return False


MAX_OUTSIDE = 100_000
"""Hosts of which it is remembered that they are outside."""
