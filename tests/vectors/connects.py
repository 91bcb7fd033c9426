"""CONNECT, CONNACK, DISCONNECT, AUTH, PINGREQ, PINGRESP (sections 3.1, 3.2, 3.12 to 3.15)."""

from __future__ import annotations

from apps.gateway.mqtt import packets as p
from tests.vectors.table import Vector, bad, before_5, everywhere

GOOD = (
    Vector("connect", 4, '10 10 "MQTT" 04 02 003c "test"', p.Connect("test", 4, True, 60)),
    Vector("connect", 3, '10 12 "MQIsdp" 03 02 003c "test"', p.Connect("test", 3, True, 60)),
    Vector("connect", 5, '10 11 "MQTT" 05 02 003c 00 "test"', p.Connect("test", 5, True, 60)),
    Vector("connect clean off", 4, '10 10 "MQTT" 04 00 0000 "test"', p.Connect("test", 4, False, 0)),
    Vector("connect anonymous", 4, '10 0c "MQTT" 04 02 ffff ""', p.Connect("", 4, True, 65535)),
    Vector(
        "connect everything",
        4,
        '10 25 "MQTT" 04 ee 000a "id" "w/t" "gone" "user" "pass" ',
        p.Connect("id", 4, True, 10, "user", b"pass", p.Will("w/t", b"gone", 1, True)),
    ),
    Vector(
        "connect everything",
        3,
        '10 27 "MQIsdp" 03 ee 000a "id" "w/t" "gone" "user" "pass"',
        p.Connect("id", 3, True, 10, "user", b"pass", p.Will("w/t", b"gone", 1, True)),
    ),
    Vector(
        "connect everything",
        5,
        '10 48 "MQTT" 05 f6 000a 0d 11 0000000a 21 0014 22 0005 19 01 "id" '
        '14 18 00000007 01 01 02 0000003c 03 "t" 08 "r" "w/t" "gone" "user" "pass"',
        p.Connect(
            "id",
            5,
            True,
            10,
            "user",
            b"pass",
            p.Will("w/t", b"gone", 2, True, {0x18: 7, 0x01: 1, 0x02: 60, 0x03: "t", 0x08: "r"}),
            {0x11: 10, 0x21: 20, 0x22: 5, 0x19: 1},
        ),
    ),
    Vector(
        "connect empty will and user",
        4,
        '10 16 "MQTT" 04 c6 0000 "i" "w" "" "" ""',
        p.Connect("i", 4, True, 0, "", b"", p.Will("w", b"")),
    ),
    Vector(
        "connect password alone",  # allowed since 5.0
        5,
        '10 12 "MQTT" 05 42 0000 00 "i" "pw"',
        p.Connect("i", 5, True, 0, None, b"pw"),
    ),
    Vector(
        "connect binary password and will",
        4,
        '10 1a "MQTT" 04 c6 0000 "i" "w" 0002 00ff "u" 0001 80',
        p.Connect("i", 4, True, 0, "u", b"\x80", p.Will("w", b"\x00\xff")),
    ),
    Vector(
        "connect all of utf-8",
        4,
        '10 19 "MQTT" 04 02 0000 "\u0001é\ufeff\U0010ffff€"',
        p.Connect("\x01é\ufeff\U0010ffff€", 4),
    ),
    Vector(
        "connect bridge", 4, '10 10 "MQTT" 84 00 003c "test"', p.Connect("test", 4, False, 60, bridge=True)
    ),
    Vector(
        "connect bridge", 3, '10 12 "MQIsdp" 83 02 003c "test"', p.Connect("test", 3, True, 60, bridge=True)
    ),
    Vector(
        "connect bridge", 5, '10 11 "MQTT" 85 02 003c 00 "test"', p.Connect("test", 5, True, 60, bridge=True)
    ),
    *before_5("connack", "20 02 00 00", p.Connack()),
    *before_5("connack refused", "20 02 00 05", p.Connack(5)),
    Vector("connack session present", 4, "20 02 01 00", p.Connack(0, True)),
    Vector("connack", 5, "20 03 00 00 00", p.Connack()),
    Vector("connack session present", 5, "20 03 01 00 00", p.Connack(0, True)),
    Vector("connack refused", 5, '20 08 00 87 05 1f "no"', p.Connack(0x87, False, {0x1F: "no"})),
    *before_5("disconnect", "e0 00", p.Disconnect()),
    Vector("disconnect", 5, "e0 00", p.Disconnect()),
    Vector("disconnect with reason 0", 5, "e0 01 00", p.Disconnect(), canonical=False),
    Vector("disconnect without properties", 5, "e0 02 00 00", p.Disconnect(), canonical=False),
    Vector("disconnect with will", 5, "e0 01 04", p.Disconnect(4)),
    Vector("disconnect with properties", 5, "e0 07 00 05 11 0000000a", p.Disconnect(0, {0x11: 10})),
    Vector("disconnect moved", 5, 'e0 0a 9d 08 1c "there"', p.Disconnect(0x9D, {0x1C: "there"})),
    Vector("auth", 5, "f0 00", p.Auth()),
    Vector("auth reason", 5, "f0 01 18", p.Auth(0x18)),
    Vector("auth data", 5, 'f0 0c 18 0a 15 "SCR" 16 0001 00', p.Auth(0x18, {0x15: "SCR", 0x16: b"\0"})),
    *everywhere("pingreq", "c0 00", p.Ping(12)),
    *everywhere("pingresp", "d0 00", p.Ping(13)),
)

BAD = (
    *bad("connect flags in header", '11 10 "MQTT" 04 02 003c "test"'),
    *bad("connect reserved flag", '10 10 "MQTT" 04 03 003c "test"'),  # [MQTT-3.1.2-3]
    *bad("connect will qos 3", '10 16 "MQTT" 04 1e 003c "test" "w" "m"'),  # [MQTT-3.1.2-12]
    *bad("connect will qos without will", '10 10 "MQTT" 04 0a 003c "test"'),  # [MQTT-3.1.2-11]
    *bad("connect will retain without will", '10 10 "MQTT" 04 22 003c "test"'),  # [MQTT-3.1.2-13]
    *bad("connect password without user", '10 12 "MQTT" 04 42 003c "test" ""'),  # [MQTT-3.1.2-22] of 3.1.1
    *bad("connect name", '10 10 "MQTX" 04 02 003c "test"', 0x84),  # [MQTT-3.1.2-1]
    *bad("connect name in lower case", '10 10 "mqtt" 04 02 003c "test"', 0x84),
    *bad("connect no name", '10 0c "" 04 02 003c "test"', 0x84),
    *bad("connect level 0", '10 10 "MQTT" 00 02 003c "test"', 0x84),  # [MQTT-3.1.2-2]
    *bad("connect level 3 of MQTT", '10 10 "MQTT" 03 02 003c "test"', 0x84),
    *bad("connect level 6", '10 11 "MQTT" 06 02 003c 00 "test"', 0x84),
    *bad("connect bridge bit and level 6", '10 10 "MQTT" 86 02 003c "test"', 0x84),
    *bad("connect bridge bit, level 3 of MQTT", '10 10 "MQTT" 83 02 003c "test"', 0x84),
    *bad("connect level 4 of MQIsdp", '10 12 "MQIsdp" 04 02 003c "test"', 0x84),
    *bad("connect empty", "10 00"),
    *bad("connect ends in its name", "10 05 0004 'MQT'"),
    *bad("connect ends before its level", '10 06 "MQTT"'),
    *bad("connect ends before its flags", '10 07 "MQTT" 04'),
    *bad("connect ends in its keepalive", '10 09 "MQTT" 04 02 00'),
    *bad("connect ends before its client id", '10 0a "MQTT" 04 02 003c'),
    *bad("connect ends in its client id", "10 0f \"MQTT\" 04 02 003c 0004 'tes'"),
    *bad("connect ends before its properties", '10 0a "MQTT" 05 02 003c'),
    *bad("connect properties beyond its end", '10 11 "MQTT" 05 02 003c 07 "test"'),
    *bad("connect ends before its will", '10 10 "MQTT" 04 06 003c "test"'),
    *bad("connect ends before its user", '10 10 "MQTT" 04 82 003c "test"'),
    *bad("connect ends before its password", '10 12 "MQTT" 04 c2 003c "test" ""'),
    *bad("connect goes on", '10 11 "MQTT" 04 02 003c "test" 00'),
    *bad("connect id not utf-8", '10 0e "MQTT" 04 02 003c 0002 c328'),  # [MQTT-3.1.3-4]
    *bad("connect id with surrogate", '10 0f "MQTT" 04 02 003c 0003 eda080'),  # [MQTT-1.5.4-1]
    *bad("connect id overlong", '10 0e "MQTT" 04 02 003c 0002 c080'),
    *bad("connect id with null", '10 0d "MQTT" 04 02 003c 0001 00'),  # [MQTT-1.5.4-2]
    *bad("connect user with null", '10 13 "MQTT" 04 82 003c "test" 0001 00'),
    *bad("connect will topic with null", '10 15 "MQTT" 04 06 003c "test" 0001 00 ""'),
    *bad("connect data without method", '10 15 "MQTT" 05 02 003c 04 16 "x" "test"', 0x82),
    *bad("connack short", "20 01 00"),
    *bad("connack flags", "20 02 02 00", levels=(4,)),
    *bad("connack goes on", "20 03 00 00 00", levels=(3, 4)),
    *bad("connack goes on", "20 04 00 00 00 00", levels=(5,)),
    *bad("connack without properties", "20 02 00 00", levels=(5,)),
    *bad("connack with an unknown reason", "20 03 00 01 00", 0x82, levels=(5,)),
    *bad("disconnect flags", "e1 00"),  # [MQTT-3.14.1-1]
    *bad("disconnect with a body", "e0 01 00", levels=(3, 4)),
    *bad("disconnect goes on", "e0 03 00 00 00", levels=(5,)),
    *bad("disconnect properties beyond its end", "e0 02 00 05", levels=(5,)),
    *bad("disconnect with an unknown reason", "e0 01 05", 0x82, levels=(5,)),  # [MQTT-3.14.2-1]
    *bad("disconnect with a reason of PUBACK", "e0 01 10", 0x82, levels=(5,)),
    *bad("auth before 5.0", "f0 00", levels=(3, 4)),
    *bad("auth flags", "f1 00"),  # [MQTT-3.15.1-1]
    *bad("auth goes on", "f0 03 18 00 00", levels=(5,)),
    *bad("auth with an unknown reason", "f0 01 01", 0x82, levels=(5,)),  # [MQTT-3.15.2-1]
    *bad("pingreq flags", "c1 00"),
    *bad("pingreq with a body", "c0 01 00"),
    *bad("pingresp with a body", "d0 01 00"),
    *bad("type 0", "00 00"),
    *bad("type 0 with flags", "0f 02 0000"),
    *bad("length of five bytes", "10 ff ff ff ff 01"),
    *bad("length of five bytes later", "c0 80 80 80 80 00"),
)
