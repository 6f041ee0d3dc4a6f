"""The scenarios, short: nothing is lost, doubled, reordered or wrong, nothing hangs, every end is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from .scenarios import SCENARIOS, Scenario
from .tally import Tally

_SEED = 1
_AT_ONCE = 5
"""Scenarios that are played beside each other: most of what they do is to wait."""

GetTally = Callable[[Scenario], Tally]


def _name_of(scenario: Scenario) -> str:
    return scenario.play.__name__


@pytest.fixture(scope="module")
def tally_of(request: pytest.FixtureRequest) -> Iterator[GetTally]:
    """Returns what a scenario counted. All that are to be tested are played at once, in a thread."""
    tests = {item.name for item in request.session.items}
    with start_blocking_portal() as portal:
        turn = portal.call(anyio.Semaphore, _AT_ONCE)

        async def play(scenario: Scenario) -> Tally:
            async with turn:
                return await scenario.play(_SEED, scenario.few)

        wanted = [scenario for scenario in SCENARIOS if f"test_scenario[{_name_of(scenario)}]" in tests]
        outcomes = {scenario: portal.start_task_soon(play, scenario) for scenario in wanted}
        yield lambda scenario: outcomes[scenario].result()
        for outcome in outcomes.values():
            outcome.cancel()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name_of)
def test_scenario(scenario: Scenario, tally_of: GetTally) -> None:
    """Whatever happens, readers get the text of the log and an end that is right, and soon; and every key expires."""
    tally = tally_of(scenario)
    assert tally.notes == []
    assert tally.problems == 0
    assert min(tally.rounds, tally.streams, tally.readers, tally.chunks, tally.samples) > 0
