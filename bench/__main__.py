"""The command line: see ``python -m bench --help``."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import FrameType

from . import growth, probe, report
from .peers import KINDS, STOPPING, StartError
from .runner import Results, failed, run_scenario
from .scenarios import SCENARIOS

FILES = 12_000  # connections of one process in the largest scenarios, and a few more


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    listed = "\n".join(f"  {name:5} {scenario.title}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the node beside mosquitto: CPU, throughput, latency, memory, correctness.",
        epilog=f"scenarios, 64-byte payloads:\n{listed}\n\n"
        "exit code: 0; 1 when a message was lost, repeated or reordered, or a run failed; 2 for wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", type=_names(SCENARIOS), default=list(SCENARIOS), metavar="S4,S5")
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument(
        "--peer",
        type=_names(KINDS),
        default=["mosquitto", "node"],
        metavar="mosquitto,node",
        help="brokers to measure; one named twice (mosquitto,mosquitto) shows how far equal programs differ",
    )
    parser.add_argument(
        "--scale", type=_fraction, default=1.0, help="fraction of the messages, for a quick look"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures")
    parser.add_argument("--growth", action="store_true", help="the tables of how cost grows, instead")
    return parser.parse_args(arguments)


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def names(value: str) -> list[str]:
        given = [name.strip() for name in value.split(",")]
        if unknown := [name for name in given if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return given

    return names


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value}: not a whole number above 0")
    return int(value)


def _fraction(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{value}: not a number above 0 and at most 1")
    return number


def labels(kinds: Sequence[str]) -> list[str]:
    """A name for each peer: mosquitto, mosquitto#2, node."""
    counts = [kinds[: at + 1].count(kind) for at, kind in enumerate(kinds)]
    return [kind if count == 1 else f"{kind}#{count}" for kind, count in zip(kinds, counts, strict=True)]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # through every finally: no broker stays behind


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    for number in STOPPING:
        signal.signal(number, _stop)
    probe.pin(probe.GENERATOR_CPU)
    if probe.raise_file_limit() < FILES:
        _tell(f"open files are limited to {probe.raise_file_limit()}: 10,000 connections will fail")
    names = labels(options.peer)
    setting = report.setting(shlex.join(["python", "-m", "bench", *arguments]), names)
    everything: dict[str, Results] = {}
    try:
        if options.growth:
            tables, everything = growth.run(names, options.rounds, options.scale, _tell)
        else:
            tables, everything = _scenarios(options, names)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{' '.join(f'{key}: {value};' for key, value in setting.items())} rounds: {options.rounds}\n")
    print("\n\n".join(tables))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(setting, everything), indent=1) + "\n")
    return int(any(failed(results) for results in everything.values()))


def _scenarios(options: argparse.Namespace, names: list[str]) -> tuple[list[str], dict[str, Results]]:
    rows: list[Sequence[str]] = [report.HEAD]
    everything: dict[str, Results] = {}
    for name in options.scenario:
        scenario = SCENARIOS[name].scaled(options.scale)
        everything[name] = run_scenario(scenario, names, options.rounds, _tell)
        rows += report.scenario_rows(scenario, everything[name])
    return [report.table(rows), report.LEGEND], everything


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
