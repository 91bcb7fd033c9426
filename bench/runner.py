"""Rounds: warm up, then the peers in turn, the order reversed each time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from . import flows, idle, matching, retained
from .links import Closed
from .loop import DeadlineExceeded
from .measure import Sample
from .peers import Peer, running
from .scenarios import Scenario
from .verify import Corrupt

WARM_UP = 0.1  # of the messages
CANDIDATE = "node"
BASELINE = "mosquitto"

Outcome = Sample | str  # why there is no sample
Results = dict[str, list[Outcome]]  # by peer, one outcome per round
Tell = Callable[[str], None]


def run_scenario(scenario: Scenario, names: Sequence[str], rounds: int, tell: Tell) -> Results:
    """Raises StartError when a broker does not start; what goes wrong later is an outcome."""
    results: Results = {name: [] for name in names}
    if isinstance(scenario, matching.Matching):
        if CANDIDATE not in names:
            return {}
        return {CANDIDATE: [matching.run(scenario) for _ in range(rounds)]}
    if isinstance(scenario, idle.Idle):
        for number in range(rounds):
            for name in _order(names, number):
                with running([name], websocket=scenario.websocket) as (peer,):
                    results[name].append(_attempt(functools.partial(idle.run, scenario, peer)))
                    _tell_round(tell, scenario, name, number, results[name][-1])
        return results
    websocket = isinstance(scenario, flows.Flow) and scenario.websocket
    durable = isinstance(scenario, flows.Flow) and scenario.durable
    with running(names, websocket=websocket, durable=durable) as peers:
        by_name = {peer.name: peer for peer in peers}
        for peer in peers:
            if failure := _warm_up(scenario, peer):
                results[peer.name] = [f"warm-up: {failure}"] * rounds
                del by_name[peer.name]
        for number in range(rounds):
            for name in _order(list(by_name), number):
                if isinstance(scenario, retained.Retained):
                    outcome = _attempt(functools.partial(retained.run, scenario, by_name[name]))
                else:
                    outcome = _attempt(functools.partial(flows.run, scenario, by_name[name]))
                results[name].append(outcome)
                _tell_round(tell, scenario, name, number, outcome)
    return results


def _order(names: Sequence[str], number: int) -> Sequence[str]:
    return names[::-1] if number % 2 else names


def _warm_up(scenario: flows.Flow | retained.Retained, peer: Peer) -> str:
    """The reason of a failure, or nothing."""
    try:
        if isinstance(scenario, retained.Retained):
            retained.prepare(scenario, peer)
        else:
            flows.run(scenario.scaled(WARM_UP), peer)
    except (Closed, Corrupt, DeadlineExceeded, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _attempt(run: Callable[[], Sample]) -> Outcome:
    try:
        return run()
    except (Closed, Corrupt, DeadlineExceeded, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _tell_round(tell: Tell, scenario: Scenario, name: str, number: int, outcome: Outcome) -> None:
    figure = outcome if isinstance(outcome, str) else f"{outcome.cpu_us:.3g} us, {outcome.rate:,.0f}/s"
    tell(f"{scenario.name} round {number + 1} {name}: {figure}")


def failed(results: Results) -> bool:
    """Was a message lost, repeated or out of order, or a round not finished?"""
    return any(
        isinstance(outcome, str) or bool(outcome.faults) for each in results.values() for outcome in each
    )
