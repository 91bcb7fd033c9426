"""SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (sections 3.8 to 3.11)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from tests.vectors.table import Vector, bad, before_5

GOOD = (
    *before_5("subscribe", '82 08 000a "a/b" 01', p.Subscribe(10, [p.Filter("a/b", 1)])),
    *before_5(
        "subscribe three",
        '82 13 000a "a/b" 00 "+/#" 01 "$S" 02',
        p.Subscribe(10, [p.Filter("a/b"), p.Filter("+/#", 1), p.Filter("$S", 2)]),
    ),
    Vector(
        "subscribe repeated", 3, '8a 08 000a "a/b" 01', p.Subscribe(10, [p.Filter("a/b", 1)]), canonical=False
    ),
    Vector("subscribe", 5, '82 09 000a 00 "a/b" 01', p.Subscribe(10, [p.Filter("a/b", 1)])),
    Vector(
        "subscribe options",
        5,
        '82 15 000a 00 "a/b" 2e "c/d" 19 "e/f" 04',
        p.Subscribe(
            10,
            [p.Filter("a/b", 2, True, True, 2), p.Filter("c/d", 1, False, True, 1), p.Filter("e/f", 0, True)],
        ),
    ),
    Vector(
        "subscribe identifier",
        5,
        '82 15 000a 0c 0b ffffff7f 26 "k" "v" "a/b" 00',
        p.Subscribe(10, [p.Filter("a/b")], {0x0B: [268_435_455], 0x26: [("k", "v")]}),
    ),
    *before_5("suback", "90 05 000a 000102", p.Suback(10, [0, 1, 2])),
    Vector("suback refused", 4, "90 04 000a 0080", p.Suback(10, [0, 0x80])),
    Vector("suback", 5, "90 06 000a 00 000187", p.Suback(10, [0, 1, 0x87])),
    Vector("suback string", 5, '90 08 000a 04 1f "x" 00', p.Suback(10, [0], {0x1F: "x"})),
    *before_5("unsubscribe", 'a2 07 000a "a/b"', p.Unsubscribe(10, ["a/b"])),
    *before_5("unsubscribe two", 'a2 0a 000a "a/b" "#"', p.Unsubscribe(10, ["a/b", "#"])),
    Vector("unsubscribe repeated", 3, 'aa 07 000a "a/b"', p.Unsubscribe(10, ["a/b"]), canonical=False),
    Vector("unsubscribe", 5, 'a2 08 000a 00 "a/b"', p.Unsubscribe(10, ["a/b"])),
    Vector(
        "unsubscribe properties",
        5,
        'a2 0f 000a 07 26 "k" "v" "a/b"',
        p.Unsubscribe(10, ["a/b"], {0x26: [("k", "v")]}),
    ),
    *before_5("unsuback", "b0 02 000a", p.Unsuback(10, [])),
    Vector("unsuback", 5, "b0 05 000a 00 0011", p.Unsuback(10, [0, 0x11])),
    Vector("unsuback string", 5, 'b0 08 000a 04 1f "x" 00', p.Unsuback(10, [0], {0x1F: "x"})),
)

BAD = (
    *bad("subscribe flags 0", '80 08 000a "a/b" 01'),  # [MQTT-3.8.1-1]
    *bad("subscribe flags 3", '83 08 000a "a/b" 01'),
    *bad("subscribe repeated", '8a 08 000a "a/b" 01', levels=(4,)),
    *bad("subscribe repeated", '8a 09 000a 00 "a/b" 01', levels=(5,)),
    *bad("subscribe empty", "82 00"),
    *bad("subscribe short", "82 01 00"),
    *bad("subscribe id 0", '82 08 0000 "a/b" 01', 0x82, (3, 4)),
    *bad("subscribe id 0", '82 09 0000 00 "a/b" 01', 0x82, (5,)),
    *bad("subscribe nothing", "82 02 000a", 0x82, (3, 4)),  # [MQTT-3.8.3-2]
    *bad("subscribe nothing", "82 03 000a 00", 0x82, (5,)),
    *bad("subscribe without properties", "82 02 000a", levels=(5,)),
    *bad("subscribe without options", '82 07 000a "a/b"', levels=(3, 4)),
    *bad("subscribe without options", '82 08 000a 00 "a/b"', levels=(5,)),
    *bad("subscribe qos 3", '82 08 000a "a/b" 03', levels=(3, 4)),  # [MQTT-3.8.3-4] of 3.1.1
    *bad("subscribe qos 3", '82 09 000a 00 "a/b" 03', levels=(5,)),
    *bad("subscribe options of 5.0", '82 08 000a "a/b" 05', levels=(3, 4)),
    *bad("subscribe reserved 0x40", '82 09 000a 00 "a/b" 41', levels=(5,)),  # [MQTT-3.8.3-5]
    *bad("subscribe reserved 0x80", '82 09 000a 00 "a/b" 81', levels=(5,)),
    *bad("subscribe retain handling 3", '82 09 000a 00 "a/b" 30', 0x82, (5,)),
    *bad("subscribe no local shared", '82 10 000a 00 "$share/g/t" 04', 0x82, (5,)),
    *bad("subscribe empty filter", '82 05 000a "" 00', levels=(3, 4)),  # [MQTT-4.7.3-1]
    *bad("subscribe empty filter", '82 06 000a 00 "" 00', levels=(5,)),
    *bad("subscribe filter with null", "82 06 000a 0001 00 00", levels=(3, 4)),  # [MQTT-4.7.3-2]
    *bad("subscribe filter not utf-8", "82 06 000a 0001 ff 00", levels=(3, 4)),  # [MQTT-3.8.3-1]
    *bad("subscribe second filter cut", '82 09 000a "a/b" 00 00', levels=(3, 4)),
    *bad("subscribe filter beyond its end", "82 06 000a 0003 'a/' 00", levels=(3, 4)),
    *bad("suback id 0", "90 03 0000 00", 0x82, (3, 4)),
    *bad("suback flags", "92 03 000a 00"),
    *bad("suback with an unknown reason", "90 04 000a 00 03", 0x82, (5,)),  # [MQTT-3.9.3-2]
    *bad("suback with an unknown reason", "90 03 000a 03", 0x82, (3, 4)),
    *bad("unsubscribe flags 0", 'a0 07 000a "a/b"'),  # [MQTT-3.10.1-1]
    *bad("unsubscribe repeated", 'aa 07 000a "a/b"', levels=(4,)),
    *bad("unsubscribe id 0", 'a2 07 0000 "a/b"', 0x82, (3, 4)),
    *bad("unsubscribe id 0", 'a2 08 0000 00 "a/b"', 0x82, (5,)),
    *bad("unsubscribe nothing", "a2 02 000a", 0x82, (3, 4)),  # [MQTT-3.10.3-2]
    *bad("unsubscribe nothing", "a2 03 000a 00", 0x82, (5,)),
    *bad("unsubscribe without properties", "a2 02 000a", levels=(5,)),
    *bad("unsubscribe empty filter", 'a2 04 000a ""', levels=(3, 4)),
    *bad("unsubscribe cut", "a2 06 000a 0003 'a/'", levels=(3, 4)),
    *bad("unsuback id 0", "b0 02 0000", 0x82, (3, 4)),
    *bad("unsuback with a payload", "b0 03 000a 00", levels=(3, 4)),
    *bad("unsuback with an unknown reason", "b0 04 000a 00 01", 0x82, (5,)),  # [MQTT-3.11.3-2]
)
