"""Compiled rules against examples and against naive twins."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.auth.acl import PASS, Rules, Subject, covers, matches, overlap, split
from apps.auth.facts import RuleFacts
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, QOS_0, QOS_1, RETAIN
from apps.gateway.mqtt import topics
from tests.apps.auth.rules import allow, deny, rule

ALICE = Subject("alice-1", "alice", "alice.example.org", ("red", "blue"))


def test_the_first_matching_rule_decides() -> None:
    rules = Rules([allow("a/b"), deny("a/+"), allow("#")], ALICE)
    assert rules.publish("a/b") == PUBLISH_ALL
    assert rules.publish("a/c") == NOTHING
    assert rules.publish("b") == PUBLISH_ALL
    assert rules.publish("$SYS/x") == PASS


def test_limits_of_qos_and_retain() -> None:
    rules = Rules([allow("a", max_qos=1, retain=False), allow("b", max_qos=0)], ALICE)
    assert rules.publish("a") == QOS_0 | QOS_1
    assert rules.publish("b") == QOS_0 | RETAIN
    assert [rules.subscribe("a", qos) for qos in (0, 1, 2)] == [0, 1, 1]


def test_an_action_of_its_own() -> None:
    rules = Rules([allow("a", "publish"), allow("b", "subscribe")], ALICE)
    assert (rules.publish("a"), rules.subscribe("a", 1)) == (PUBLISH_ALL, PASS)
    assert (rules.publish("b"), rules.subscribe("b", 1)) == (PASS, 1)


@pytest.mark.parametrize(
    ("filter", "topic"),
    [
        ("devices/${clientid}/up", "devices/alice-1/up"),
        ("u/${username}", "u/alice"),
        ("c/${cert.cn}", "c/alice.example.org"),
        ("dev-${clientid}-${username}/x", "dev-alice-1-alice/x"),
        ("g/${group}/x", "g/red/x"),
        ("g/${group}/x", "g/blue/x"),
    ],
)
def test_placeholders(filter: str, topic: str) -> None:
    rules = Rules([allow(filter)], ALICE)
    assert rules.publish(topic) == PUBLISH_ALL
    assert rules.publish(topic + "x") == PASS


def test_a_group_rule_means_its_own_group() -> None:
    rules = Rules([allow("g/${group}", group="red")], ALICE)
    assert (rules.publish("g/red"), rules.publish("g/blue")) == (PUBLISH_ALL, PASS)


@pytest.mark.parametrize("name", ["+", "#", "a/b", "a+", "", "bob/#", "+/+"])
def test_a_name_never_widens_a_rule(name: str) -> None:
    rules = Rules([allow("devices/${clientid}/#"), allow("u/${username}")], Subject(name, name))
    for topic in ("devices/bob/x", "devices/a/b/x", "devices/x", "u/x", "u/+", "devices"):
        assert rules.publish(topic) == PASS
        assert rules.subscribe(topic, 0) == PASS
    assert rules.subscribe("devices/#", 0) == PASS
    assert rules.subscribe("devices/+/#", 0) == PASS


def test_a_name_does_not_open_the_dollar_trees() -> None:
    rules = Rules([allow("${clientid}/#")], Subject("$SYS"))
    assert rules.subscribe("$SYS/#", 0) == PASS
    assert rules.publish("$SYS/x") == PASS


def test_a_name_with_a_slash_does_not_escape_a_denial() -> None:
    rules = Rules([deny("devices/${clientid}/cmd"), allow("#")], Subject("a/b"))
    assert rules.publish("devices/a/b/cmd") == NOTHING


def test_a_value_is_not_read_again_for_placeholders() -> None:
    rules = Rules([allow("d/${clientid}")], Subject("${username}", "bob"))
    assert rules.publish("d/bob") == PASS
    assert rules.publish("d/${username}") == PUBLISH_ALL


def test_a_denied_topic_is_not_read_through_a_wide_filter() -> None:
    rules = Rules([deny("a/secret", "subscribe"), allow("a/#")], ALICE)
    for filter in ("a/#", "a/+", "#", "+/#", "+/secret"):
        assert rules.subscribe(filter, 0) == DENIED
    assert rules.subscribe("a/open", 0) == 0
    assert rules.subscribe("a/open/#", 2) == 2


@pytest.mark.parametrize(
    ("granted", "wanted", "yes"),
    [
        ("#", "#", True),
        ("#", "a/#", True),
        ("#", "$SYS/#", False),
        ("+/#", "#", True),
        ("+/#", "$SYS/x", False),
        ("$SYS/#", "$SYS/broker/+", True),
        ("a/#", "a", True),
        ("a/+/#", "a/#", False),
        ("a/+", "a/#", False),
        ("a/+", "a/+", True),
        ("a/b", "a/+", False),
        ("+", "a", True),
        ("+/+", "+", False),
    ],
)
def test_covers(granted: str, wanted: str, yes: bool) -> None:
    assert covers(split(granted), split(wanted)) is yes


# ---------------------------------------------------------------- the naive twins

LEVELS = st.sampled_from(["", "a", "b", "$x"])
NAMES = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
EVERY_TOPIC = ["/".join(t) for n in range(1, 6) for t in itertools.product(["", "a", "c", "$x"], repeat=n)]
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.sampled_from(["", "a", "+", "$x"]), max_size=3),
    st.sampled_from([["#"], ["a"], ["+"]]),
)


def naive_topics(filter: str) -> set[str]:
    """With the empty topic, which nobody can publish but "/#" and "+" would both match."""
    return {topic for topic in EVERY_TOPIC if topics.matches(filter, topic)}


@given(FILTERS, NAMES)
def test_matches_is_the_broker_s(filter: str, name: str) -> None:
    assert matches(split(filter), name.split("/")) is topics.matches(filter, name)


@given(FILTERS, FILTERS)
def test_covers_and_overlap_by_enumeration(granted: str, wanted: str) -> None:
    """Four levels deep filters over a small alphabet: five levels of topics tell every two of them apart."""
    one, other = naive_topics(granted), naive_topics(wanted)
    assert covers(split(granted), split(wanted)) is (other <= one)
    assert overlap(split(granted), split(wanted)) is bool(one & other)


RULES = st.lists(
    st.builds(
        rule,
        st.sampled_from(["allow", "deny"]),
        st.one_of(
            FILTERS, st.sampled_from(["${clientid}/a", "a/${clientid}", "a/${username}/#", "${group}/+"])
        ),
        st.sampled_from(["publish", "subscribe", "both"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=5,
)
SUBJECTS = st.builds(
    Subject,
    st.sampled_from(["a", "c", "+", "#", "a/c", "$x"]),
    st.sampled_from(["", "a", "+"]),
    st.just(""),
    st.sampled_from([(), ("a",), ("a", "c")]),
)


def naive_filters(rule: RuleFacts, subject: Subject) -> list[str]:
    found = []
    for group in subject.groups if "${group}" in rule.filter else [""]:
        values = {"${clientid}": subject.client_id, "${username}": subject.username, "${group}": group}
        used = {name: value for name, value in values.items() if name in rule.filter}
        filter = rule.filter
        for name, value in used.items():
            filter = filter.replace(name, value)
        bad = "+#/" if rule.effect == "allow" else "+#"
        usable = all(value and not set(value) & set(bad) for value in used.values())
        if usable and not (filter.startswith("$") and rule.filter.startswith("${")):
            found.append(filter)
    return found


def naive_decision(rules: list[RuleFacts], subject: Subject, action: str, topic: str) -> RuleFacts | None:
    for each in rules:
        if each.action not in (action, "both"):
            continue
        for filter in naive_filters(each, subject):
            granted, wanted = naive_topics(filter), naive_topics(topic)
            if wanted <= granted if each.effect == "allow" or action == "publish" else wanted & granted:
                return each
    return None


@given(RULES, SUBJECTS, NAMES)
def test_publish_is_the_naive_decision(rules: list[RuleFacts], subject: Subject, topic: str) -> None:
    if topic not in EVERY_TOPIC:
        return
    decided = naive_decision(rules, subject, "publish", topic)
    compiled = Rules(rules, subject)
    answer = compiled.publish(topic)
    assert compiled.explain("publish", topic).rule is decided
    assert compiled.explain("publish", topic).answer == answer
    if decided is None:
        assert answer == PASS
    elif decided.effect == "deny":
        assert answer == NOTHING
    else:
        assert answer == [1, 3, 7][decided.max_qos] + (RETAIN if decided.retain else 0)


@given(RULES, SUBJECTS, FILTERS, st.integers(0, 2))
def test_subscribe_is_the_naive_decision(
    rules: list[RuleFacts], subject: Subject, filter: str, qos: int
) -> None:
    decided = naive_decision(rules, subject, "subscribe", filter)
    compiled = Rules(rules, subject)
    answer = compiled.subscribe(filter, qos)
    assert compiled.explain("subscribe", filter, qos).rule is decided
    if decided is None:
        assert answer == PASS
    else:
        assert answer == (DENIED if decided.effect == "deny" else min(qos, decided.max_qos))


@given(RULES, SUBJECTS, FILTERS)
def test_what_may_be_subscribed_has_no_denied_topic(
    rules: list[RuleFacts], subject: Subject, filter: str
) -> None:
    """Rules about both: whoever may read a filter may read each of its topics."""
    both = [rule(r.effect, r.filter, "both", r.max_qos) for r in rules]
    compiled = Rules(both, subject)
    if compiled.subscribe(filter, 0) >= 0:
        assert all(compiled.publish(topic) > 0 for topic in naive_topics(filter))


def test_explain_says_why_rules_were_passed_over() -> None:
    rules = Rules([allow("a", "subscribe"), allow("x/${username}"), deny("b/#"), allow("#")], Subject("c"))
    explained = rules.explain("publish", "q")
    assert explained.rule is rules.rules[3]
    assert [why for _, why in explained.passed] == [
        "is about subscribe only",
        "a placeholder has no value that may stand in a topic",
        "b/# does not match the topic",
    ]
