"""Django settings. What an operator may change comes from conf/conf.toml by way of loader.py, as `GMQTT`."""

from __future__ import annotations

import socket
from datetime import timedelta

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from gmqtt_platform import __version__, database, datadir, log
from gmqtt_platform.config import loader
from gmqtt_platform.config.values import BUNDLE, CHECKOUT, ROOT, host_of

GMQTT = loader.load()
BASE_DIR = ROOT

# Django's own first: what is hashed here is hashed by its first. The rest are checked alone.
PASSWORD_HASHERS = (
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.BCryptPasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "apps.auth.hashers.MosquittoSha512",
    "apps.auth.hashers.MosquittoPbkdf2",
    "apps.auth.hashers.EmqxDigest",
    "apps.auth.hashers.EmqxPbkdf2",
)
SECRET_KEY = datadir.prepare(GMQTT)
SECRET_KEY_FALLBACKS = datadir.old_secret_keys(GMQTT)
DEBUG = False

# ---------------------------------------------------------------- HTTP
_HTTP = [listener for listener in (GMQTT.listeners.http, GMQTT.listeners.https) if listener]
_WILDCARDS = ("0.0.0.0", "::")
_HOSTS = {socket.gethostname() if listener.host in _WILDCARDS else listener.host for listener in _HTTP}
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += sorted(f"[{host}]" if ":" in host else host for host in _HOSTS)
# By what names people know the platform, a proxy's for example.
ALLOWED_HOSTS += sorted({host_of(url) for url in GMQTT.http.public_urls})
CSRF_TRUSTED_ORIGINS = list(GMQTT.http.public_urls)
ROOT_URLCONF = "gmqtt_platform.urls"
ASGI_APPLICATION = "gmqtt_platform.asgi.application"
CHANNEL_LAYERS: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
if GMQTT.cluster.enabled:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # redis-py 8 would give up a read that blocks after five seconds of silence.
            "hosts": [{"address": GMQTT.redis.url, "socket_timeout": None}],
            "prefix": f"{GMQTT.cluster.prefix}:channels",
            "capacity": 1000,
        },
    }

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "unfold.contrib.guardian",
    "apps.console.apps.ConsoleAdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "guardian",
    "auditlog",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "csp",
    "apps.gateway",
    "apps.auth",
    "apps.cluster",
    "apps.console",
]

MIDDLEWARE = [
    "apps.console.health.HealthMiddleware",  # before anything that reads a database or checks the Host header
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "gmqtt_platform.static.StaticFilesMiddleware",
    "apps.console.middleware.secure_cookies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "apps.console.middleware.TwoFactorMiddleware",
    "apps.common.middleware.audited",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "apps" / "console" / "templates"],  # before the theme's
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "/static/"
# By `make webclient`, where there is Node.js; in a wheel it is always there.
_WEB_CLIENT = (BASE_DIR / "build" if CHECKOUT else BUNDLE) / "webclient"
STATICFILES_DIRS = [("webclient", _WEB_CLIENT)] if (_WEB_CLIENT / "app.js").exists() else []
# By `make docs`; served at /docs/ (static.py). In a wheel it is there where it was built before.
_DOCUMENTATION = _WEB_CLIENT.with_name("docs")
DOCUMENTATION = _DOCUMENTATION if (_DOCUMENTATION / "index.html").exists() else None
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
# `secure_cookies` decides by the request: a node that serves plain HTTP, too, gets no secure cookie back
# there.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = GMQTT.listeners.http is None

SESSION_COOKIE_AGE = 12 * 3600  # seconds
# unfold's Alpine.js evaluates the expressions in its templates, and sets styles.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# ---------------------------------------------------------------- data
DATABASES = {"default": database.database(GMQTT)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---------------------------------------------------------------- people
# What `apps.common.actors` reads of clients and their groups, whose rows apps.auth owns.
GMQTT_CLIENT_MODEL = "mqtt_auth.Client"
GMQTT_CLIENT_GROUP_MODEL = "mqtt_auth.ClientGroup"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: a user name that was guessed at is locked
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUDITLOG_STORE_JSON_CHANGES = True  # before and after as they are, not as text
ANONYMOUS_USER_NAME = None  # guardian's user for visitors: nobody here may do anything without logging in
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Five wrong passwords for one name from one address: a quarter of an hour's rest. Counted on each node.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "axes": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "axes",
        "OPTIONS": {"MAX_ENTRIES": 50_000},  # so that nobody pushes his own entry out with other names
    },
}
SILENCED_SYSTEM_CHECKS = ["axes.W001"]  # a cache of one process: a node is one
AXES_CACHE = "axes"
AXES_HANDLER = "axes.handlers.cache.AxesCacheHandler"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "console/locked.html"
AXES_VERBOSE = False
OTP_TOTP_ISSUER = "gmqtt"

UNFOLD = {
    "SITE_TITLE": "gmqtt",
    "SITE_HEADER": "gmqtt platform",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/icon.svg")}
    ],
    "SHOW_LANGUAGES": True,
    "DASHBOARD_CALLBACK": "apps.console.views.dashboard",
    "STYLES": [lambda request: static("console/console.css")],
    "SIDEBAR": {"show_search": True, "navigation": "apps.console.navigation.sidebar"},
    "ACCOUNT": {
        "navigation": [{"title": _("Two-factor login"), "link": reverse_lazy("admin:two_factor")}],
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
TIME_ZONE = "UTC"
USE_TZ = True
LOCALE_PATHS = [BASE_DIR / "apps" / "console" / "locale"]

# ---------------------------------------------------------------- REST
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.auth.api.authentication.ServiceAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.common.api.permissions.TablePermission"],
    "DEFAULT_THROTTLE_CLASSES": ["apps.common.api.limits.CallerThrottle"],
    # For each caller on each node, by the view's throttle_scope.
    "DEFAULT_THROTTLE_RATES": {
        "api": "100/second",
        "bulk": "30/minute",
        "token": "60/minute",
        "decide": "500/second",
    },
    "DEFAULT_PARSER_CLASSES": ["apps.common.api.limits.DeepJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": [
        "apps.common.api.lists.StrictFilters",
        "apps.common.api.lists.StrictOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "apps.common.api.lists.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.common.api.problems.handler",
    "URL_FORMAT_OVERRIDE": None,
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 << 20  # bytes; the API's views have smaller limits of their own
SPECTACULAR_SETTINGS = {
    "TITLE": "gmqtt platform",
    "DESCRIPTION": "Register clients, and decide who may connect, publish and subscribe.",
    "VERSION": __version__,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",  # from this node, not from the internet
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},  # the validator is on the internet
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.auth.api.schema.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Transport": ("tcp", "tls", "ws", "wss"),
        "Decision": ("allow", "deny", "pass"),
        "Effect": ("allow", "deny"),
        "CredentialKind": "apps.auth.models.Credential.Kind",
        "BanKind": "apps.auth.models.Ban.Kind",
        "RuleAction": "apps.auth.models.AclRule.Action",
        "RefusalAction": "apps.auth.models.Refusal.Action",
    },
}

LOGGING = log.logging_config(GMQTT.log)
