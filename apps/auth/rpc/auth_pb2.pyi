from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PASS: _ClassVar[Decision]
    ALLOW: _ClassVar[Decision]
    DENY: _ClassVar[Decision]
PASS: Decision
ALLOW: Decision
DENY: Decision

class Peer(_message.Message):
    __slots__ = ("address", "port", "transport", "tls_subject", "tls_common_name")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    TLS_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TLS_COMMON_NAME_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    transport: str
    tls_subject: str
    tls_common_name: str
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ..., transport: _Optional[str] = ..., tls_subject: _Optional[str] = ..., tls_common_name: _Optional[str] = ...) -> None: ...

class Subject(_message.Message):
    __slots__ = ("client_id", "username", "provider", "groups", "credential_id", "account")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    username: str
    provider: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    credential_id: int
    account: str
    def __init__(self, client_id: _Optional[str] = ..., username: _Optional[str] = ..., provider: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., credential_id: _Optional[int] = ..., account: _Optional[str] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("effect", "action", "filter", "max_qos", "retain")
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MAX_QOS_FIELD_NUMBER: _ClassVar[int]
    RETAIN_FIELD_NUMBER: _ClassVar[int]
    effect: str
    action: str
    filter: str
    max_qos: int
    retain: bool
    def __init__(self, effect: _Optional[str] = ..., action: _Optional[str] = ..., filter: _Optional[str] = ..., max_qos: _Optional[int] = ..., retain: _Optional[bool] = ...) -> None: ...

class AuthRequest(_message.Message):
    __slots__ = ("client_id", "level", "username", "password", "clean_start", "keepalive", "peer", "connected")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    CLEAN_START_FIELD_NUMBER: _ClassVar[int]
    KEEPALIVE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    level: int
    username: str
    password: bytes
    clean_start: bool
    keepalive: int
    peer: Peer
    connected: Subject
    def __init__(self, client_id: _Optional[str] = ..., level: _Optional[int] = ..., username: _Optional[str] = ..., password: _Optional[bytes] = ..., clean_start: _Optional[bool] = ..., keepalive: _Optional[int] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ..., connected: _Optional[_Union[Subject, _Mapping]] = ...) -> None: ...

class AuthReply(_message.Message):
    __slots__ = ("decision", "reason", "text", "guessed", "subject", "expires_at", "claims")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    GUESSED_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    reason: int
    text: str
    guessed: bool
    subject: Subject
    expires_at: float
    claims: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., reason: _Optional[int] = ..., text: _Optional[str] = ..., guessed: _Optional[bool] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ..., expires_at: _Optional[float] = ..., claims: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...

class PubAuthRequest(_message.Message):
    __slots__ = ("subject", "peer", "topic")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    peer: Peer
    topic: str
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ..., topic: _Optional[str] = ...) -> None: ...

class SubAuthRequest(_message.Message):
    __slots__ = ("subject", "peer", "filter", "qos")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    QOS_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    peer: Peer
    filter: str
    qos: int
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ..., filter: _Optional[str] = ..., qos: _Optional[int] = ...) -> None: ...

class AclReply(_message.Message):
    __slots__ = ("decision", "grant")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    grant: int
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., grant: _Optional[int] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("client_id", "username", "password", "display_name", "owner", "groups", "transports", "disabled", "client_ids")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORTS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    CLIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    username: str
    password: str
    display_name: str
    owner: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    transports: _containers.RepeatedScalarFieldContainer[str]
    disabled: bool
    client_ids: str
    def __init__(self, client_id: _Optional[str] = ..., username: _Optional[str] = ..., password: _Optional[str] = ..., display_name: _Optional[str] = ..., owner: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., transports: _Optional[_Iterable[str]] = ..., disabled: _Optional[bool] = ..., client_ids: _Optional[str] = ...) -> None: ...

class RegisterReply(_message.Message):
    __slots__ = ("client_id", "username", "secret")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    username: str
    secret: str
    def __init__(self, client_id: _Optional[str] = ..., username: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class UnregisterRequest(_message.Message):
    __slots__ = ("client_id",)
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    def __init__(self, client_id: _Optional[str] = ...) -> None: ...

class UnregisterReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
