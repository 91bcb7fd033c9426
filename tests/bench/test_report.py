from __future__ import annotations

import json

import pytest

from bench import __main__ as cli
from bench import report
from bench.measure import Sample
from bench.runner import Results, failed
from bench.scenarios import BARS, SCENARIOS
from bench.verify import Faults


def sample(cpu_us: float, *, p99: float = 1.0, lost: int = 0, **extra: float) -> Sample:
    return Sample(cpu_us, 1e6, 0.9, 0.4, 0.0, 1 << 20, 0.5, p99, Faults(lost), extra)


def row(scenario: str, results: Results) -> dict[str, str]:
    """The node's row."""
    last = report.scenario_rows(SCENARIOS[scenario], results)[-1]
    return dict(zip(report.HEAD, last, strict=True))


def against(mosquitto: list[float], node: list[float]) -> Results:
    return {"mosquitto": [sample(cpu) for cpu in mosquitto], "node": [sample(cpu) for cpu in node]}


@pytest.mark.parametrize(("cpu", "verdict"), [(2.6, "MISS CPU"), (2.5, "must"), (2.0, "aim")])
def test_verdict_of_a_ratio(cpu: float, verdict: str) -> None:
    assert row("S1", against([10.0], [cpu]))["verdict"] == verdict


def test_the_ratio_is_the_median_of_each_rounds_own() -> None:
    found = row("S1", against([10.0, 20.0, 10.0], [1.0, 10.0, 2.0]))
    assert found["against the bars"] == "CPU 1/5.0"
    assert found["CPU us/msg"] == "2.00"


def test_rounds_without_a_sample_on_one_side_do_not_shift_the_others() -> None:
    results = against([10.0, 20.0], [1.0, 2.0])
    results["mosquitto"][0] = "Closed: the broker closed the connection"
    assert row("S1", results)["against the bars"] == "CPU 1/10.0"


def test_a_loss_outweighs_every_bar() -> None:
    results: Results = {"mosquitto": [sample(10.0)], "node": [sample(0.1, lost=3)]}
    found = row("S1", results)
    assert (found["lost/dup/reord"], found["verdict"]) == ("3/0/0", "WRONG")
    assert failed(results)


def test_a_round_that_failed_is_in_the_table() -> None:
    results: Results = {"mosquitto": [sample(10.0)], "node": ["Corrupt: packet 5"]}
    found = row("S1", results)
    assert "Corrupt: packet 5" in found["more"]
    assert found["verdict"] == "WRONG"


def test_two_bars_of_one_scenario() -> None:
    results: Results = {"mosquitto": [sample(10.0, p99=1.0)], "node": [sample(10.5, p99=2.0)]}
    found = row("S11", results)
    assert (found["against the bars"], found["verdict"]) == ("CPU 1.05, p99 2.00", "MISS p99")


def test_more_is_better_for_connects_per_second() -> None:
    bar = BARS["S10"][0]
    assert bar.met(6000.0, bar.must)
    assert not bar.met(5999.0, bar.must)


def test_without_mosquitto_a_ratio_is_unknown() -> None:
    assert row("S1", {"node": [sample(1.0)]})["verdict"] == "? CPU"


def test_a_second_mosquitto_is_compared_but_not_judged() -> None:
    found = row("S1", {"mosquitto": [sample(10.0)], "mosquitto#2": [sample(11.0)]})
    assert (found["against the bars"], found["verdict"]) == ("CPU 1.10", "-")


def test_json_holds_every_round() -> None:
    results: Results = {"node": [sample(1.0, kb=2.0), "failed"]}
    text = json.dumps(report.as_json({"command": "x"}, {"S1": results}))
    rounds = json.loads(text)["scenarios"]["S1"]["node"]
    assert rounds[0]["extra"] == {"kb": 2.0}
    assert rounds[1] == {"failed": "failed"}


def test_every_bar_belongs_to_a_scenario_and_no_aim_is_below_its_must() -> None:
    assert set(BARS) <= set(SCENARIOS)
    assert all(bar.met(float(bar.aim), bar.must) for bars in BARS.values() for bar in bars)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "S4,S99"], "S99: not one of S1"),
        (["--peer", "nats"], "nats: not one of mosquitto, node"),
        (["--rounds", "0"], "not a whole number above 0"),
        (["--scale", "2"], "not a number above 0 and at most 1"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.parse(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_names_of_equal_peers() -> None:
    assert cli.labels(["mosquitto", "node", "mosquitto"]) == ["mosquitto", "node", "mosquitto#2"]
