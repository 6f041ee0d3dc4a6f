"""Is the server fit to keep streams?"""

from __future__ import annotations

from ...backends.redis.errors import translated_errors
from ...exceptions import BackendError
from ..exits import Exit
from ..options import Store
from .facts import ask
from .findings import Examined, Finding, Level, print_findings
from .permissions import permissions
from .places import Place, places_of
from .settings import CHECKS
from .trial import ping, stream

__all__ = ["examine"]


async def examine(store: Store, *, as_json: bool) -> Exit:
    """Check all servers of a store, and print what was found."""
    try:
        async with places_of(store) as places:
            examined = [Examined(place.name, await _findings(place, store)) for place in places]
    except BackendError as error:
        examined = [Examined(store.name, [_away(error)])]
    problems = print_findings(examined, as_json=as_json)
    return Exit.FAILED if problems else Exit.OK


async def _findings(place: Place, store: Store) -> list[Finding]:
    findings: list[Finding] = []
    try:
        with translated_errors("answer"):
            facts = await ask(place.connection)
            findings += [check(facts) for check in CHECKS]
            findings.append(await ping(place))
            if facts.is_replica:  # which one of these has said: nothing can be tried there
                return [_reachable(), *findings]
            findings.append(await permissions(place, store.key_prefix))
        findings += await stream(place, store)
    except BackendError as error:  # it went away meanwhile
        return [_away(error), *findings]
    return [_reachable(), *findings]


def _reachable() -> Finding:
    return Finding("reachable", Level.OK, "it answers")


def _away(error: BackendError) -> Finding:
    advice = "Is the URL right, is the server up, and does it let this user in?"
    return Finding("reachable", Level.PROBLEM, str(error), advice)
