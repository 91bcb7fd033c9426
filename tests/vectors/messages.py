"""PUBLISH and its acknowledgements (sections 3.3 to 3.7)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from tests.vectors.table import Vector, bad, before_5, everywhere

GOOD = (
    *before_5("publish", '30 05 "a/b"', p.Publish("a/b")),
    *before_5("publish payload", "30 07 \"a/b\" 'hi'", p.Publish("a/b", b"hi")),
    *before_5("publish retained", "31 07 \"a/b\" 'hi'", p.Publish("a/b", b"hi", 0, True)),
    *before_5("publish qos 1", "32 09 \"a/b\" 000a 'hi'", p.Publish("a/b", b"hi", 1, False, False, 10)),
    *before_5("publish qos 2", "34 09 \"a/b\" ffff 'hi'", p.Publish("a/b", b"hi", 2, False, False, 65535)),
    *before_5("publish dup", '3b 07 "a/b" 0001', p.Publish("a/b", b"", 1, True, True, 1)),
    *before_5("publish dup qos 2", '3d 07 "a/b" 0001', p.Publish("a/b", b"", 2, True, True, 1)),
    *before_5("publish binary", '30 08 "a/b" 00ff80', p.Publish("a/b", b"\x00\xff\x80")),
    *before_5("publish 122 bytes", '30 7f "a/b"' + " 78" * 122, p.Publish("a/b", b"x" * 122)),
    *before_5("publish 123 bytes", '30 8001 "a/b"' + " 78" * 123, p.Publish("a/b", b"x" * 123)),
    *before_5("publish 16378 bytes", '30 ff7f "a/b"' + " 78" * 16378, p.Publish("a/b", b"x" * 16378)),
    *before_5("publish 16379 bytes", '30 808001 "a/b"' + " 78" * 16379, p.Publish("a/b", b"x" * 16379)),
    Vector("publish", 5, '30 06 "a/b" 00', p.Publish("a/b")),
    Vector("publish payload", 5, "30 08 \"a/b\" 00 'hi'", p.Publish("a/b", b"hi")),
    Vector("publish qos 1", 5, "32 0a \"a/b\" 000a 00 'hi'", p.Publish("a/b", b"hi", 1, False, False, 10)),
    Vector("publish alias alone", 5, '30 06 "" 03 23 0001', p.Publish("", properties={0x23: 1})),
    Vector(
        "publish everything",
        5,
        '3d 38 "a/b" 0001 2e 01 01 02 0000003c 03 "t" 08 "r" 09 0002 00ff 23 000a 26 "k" "v" 26 "k" "" '
        "0b 01 0b ff7f 0b ffffff7f 'hi'",
        p.Publish(
            "a/b",
            b"hi",
            2,
            True,
            True,
            1,
            {
                0x01: 1,
                0x02: 60,
                0x03: "t",
                0x08: "r",
                0x09: b"\x00\xff",
                0x23: 10,
                0x26: [("k", "v"), ("k", "")],
                0x0B: [1, 16383, 268_435_455],
            },
        ),
    ),
    *everywhere("puback", "40 02 0001", p.Ack(4, 1)),
    *everywhere("pubrec", "50 02 ffff", p.Ack(5, 65535)),
    *everywhere("pubrel", "62 02 0100", p.Ack(6, 256)),
    *everywhere("pubcomp", "70 02 0001", p.Ack(7, 1)),
    Vector("pubrel repeated", 3, "6a 02 0100", p.Ack(6, 256), canonical=False),  # DUP, MQTT 3.1 section 2.1
    Vector("puback reason", 5, "40 03 0001 10", p.Ack(4, 1, 0x10)),
    Vector("pubrec reason", 5, "50 03 0001 97", p.Ack(5, 1, 0x97)),
    Vector("pubrel reason", 5, "62 03 0001 92", p.Ack(6, 1, 0x92)),
    Vector("pubcomp reason", 5, "70 03 0001 92", p.Ack(7, 1, 0x92)),
    Vector("puback reason 0", 5, "40 03 0001 00", p.Ack(4, 1), canonical=False),
    Vector("puback no properties", 5, "40 04 0001 10 00", p.Ack(4, 1, 0x10), canonical=False),
    Vector("puback string", 5, '40 08 0001 00 04 1f "x"', p.Ack(4, 1, 0, {0x1F: "x"})),
    Vector(
        "pubrec properties",
        5,
        '50 0f 0001 80 0b 1f "x" 26 "k" "v"',
        p.Ack(5, 1, 0x80, {0x1F: "x", 0x26: [("k", "v")]}),
    ),
)

BAD = (
    *bad("publish qos 3", '36 07 "a/b" 0001'),  # [MQTT-3.3.1-4]
    *bad("publish dup qos 3", '3e 07 "a/b" 0001'),
    *bad("publish dup qos 0", '38 05 "a/b"'),  # [MQTT-3.3.1-2]
    *bad("publish dup qos 0 retained", '39 05 "a/b"'),
    *bad("publish id 0", '32 07 "a/b" 0000', 0x82, (3, 4)),  # [MQTT-2.2.1-3]
    *bad("publish id 0", '32 08 "a/b" 0000 00', 0x82, (5,)),
    *bad("publish id 0 qos 2", '34 07 "a/b" 0000', 0x82, (3, 4)),
    *bad("publish id 0 qos 2", '34 08 "a/b" 0000 00', 0x82, (5,)),
    *bad("publish empty", "30 00"),
    *bad("publish ends in its topic length", "30 01 00"),
    *bad("publish ends in its topic", "30 04 0003 'a/'"),
    *bad("publish ends before its id", '32 05 "a/b"'),
    *bad("publish ends in its id", '32 06 "a/b" 00'),
    *bad("publish ends before its properties", '30 05 "a/b"', levels=(5,)),
    *bad("publish ends before its properties qos 1", '32 07 "a/b" 0001', levels=(5,)),
    *bad("publish properties beyond its end", '30 06 "a/b" 01', levels=(5,)),
    *bad("publish property length not shortest", '30 07 "a/b" 8000', levels=(5,)),  # [MQTT-1.5.5-1]
    *bad("publish property length of five bytes", '30 0a "a/b" 8080808000', levels=(5,)),
    *bad("publish property length unfinished", '30 06 "a/b" 80', levels=(5,)),
    *bad("publish property cut", '30 09 "a/b" 03 02 0000', levels=(5,)),
    *bad("publish property beyond the properties", '30 0b "a/b" 02 02 0000003c', levels=(5,)),
    *bad("publish string property beyond the properties", '30 0b "a/b" 04 03 "ab"', levels=(5,)),
    *bad("publish topic not utf-8", "30 03 0001 ff", levels=(3, 4)),
    *bad("publish topic not utf-8", "30 04 0001 ff 00", levels=(5,)),
    *bad("publish topic with null", "30 05 0003 610062", levels=(3, 4)),  # [MQTT-4.7.3-2]
    *bad("publish topic with null", "30 06 0003 610062 00", levels=(5,)),
    *bad("publish topic with surrogate", "30 05 0003 edbfbf", levels=(3, 4)),
    *bad("puback flags", "41 02 0001"),
    *bad("pubrec flags", "52 02 0001"),
    *bad("pubrel flags 0", "60 02 0001"),  # [MQTT-3.6.1-1]
    *bad("pubrel flags 3", "63 02 0001"),
    *bad("pubrel repeated", "6a 02 0001", levels=(4, 5)),
    *bad("pubcomp flags", "78 02 0001"),
    *bad("puback empty", "40 00"),
    *bad("puback short", "40 01 00"),
    *bad("pubcomp short", "70 01 00"),
    *bad("puback id 0", "40 02 0000", 0x82),
    *bad("pubrec id 0", "50 02 0000", 0x82),
    *bad("pubrel id 0", "62 02 0000", 0x82),
    *bad("pubcomp id 0", "70 02 0000", 0x82),
    *bad("puback id 0 with reason", "40 03 0000 10", 0x82, (5,)),
    *bad("puback long", "40 03 0001 00", levels=(3, 4)),
    *bad("pubrel long", "62 04 0001 00 00", levels=(3, 4)),
    *bad("puback goes on", "40 05 0001 00 00 00", levels=(5,)),
    *bad("puback properties beyond its end", "40 04 0001 00 01", levels=(5,)),
    *bad("puback with an unknown reason", "40 03 0001 01", 0x82, (5,)),  # [MQTT-3.4.2-1]
    *bad("pubrec with a reason of PUBREL", "50 03 0001 92", 0x82, (5,)),  # [MQTT-3.5.2-1]
    *bad("pubrel with a reason of PUBREC", "62 03 0001 97", 0x82, (5,)),  # [MQTT-3.6.2-1]
    *bad("pubcomp with a reason of PUBACK", "70 03 0001 10", 0x82, (5,)),  # [MQTT-3.7.2-1]
)
