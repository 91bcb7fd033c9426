"""The routes of /api/. Each name stands in `rbac.ENDPOINTS`; what does not is refused."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.auth.api import accounts, bans, bulk, clients, credentials, decide, groups, records, rules
from apps.common.api.problems import not_found

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    # split: its script is a file of its own, for the content security policy allows no other
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("v1/clients/", clients.ClientsView.as_view(), name="clients"),
    path("v1/clients/bulk/", bulk.BulkView.as_view(), name="clients-bulk"),
    path("v1/clients/export/", bulk.ExportView.as_view(), name="clients-export"),
    path("v1/clients/<int:pk>/", clients.ClientView.as_view(), name="client"),
    path("v1/clients/<int:pk>/enable/", clients.EnableView.as_view(), name="client-enable"),
    path("v1/clients/<int:pk>/disable/", clients.DisableView.as_view(), name="client-disable"),
    path("v1/clients/<int:pk>/rotate/", clients.RotateView.as_view(), name="client-rotate"),
    path("v1/clients/<int:pk>/kick/", clients.KickView.as_view(), name="client-kick"),
    path("v1/credentials/", credentials.CredentialsView.as_view(), name="credentials"),
    path("v1/credentials/<int:pk>/", credentials.CredentialView.as_view(), name="credential"),
    path(
        "v1/credentials/<int:pk>/rotate/",
        credentials.RotateCredentialView.as_view(),
        name="credential-rotate",
    ),
    path("v1/groups/", groups.GroupsView.as_view(), name="groups"),
    path("v1/groups/<int:pk>/", groups.GroupView.as_view(), name="group"),
    path("v1/acl/rules/", rules.RulesView.as_view(), name="rules"),
    path("v1/acl/rules/<int:pk>/", rules.RuleView.as_view(), name="rule"),
    path("v1/bans/", bans.BansView.as_view(), name="bans"),
    path("v1/bans/<int:pk>/", bans.BanView.as_view(), name="ban"),
    path("v1/service-accounts/", accounts.AccountsView.as_view(), name="service-accounts"),
    path("v1/service-accounts/<int:pk>/", accounts.AccountView.as_view(), name="service-account"),
    path(
        "v1/service-accounts/<int:pk>/rotate/",
        accounts.RotateAccountView.as_view(),
        name="service-account-rotate",
    ),
    path("v1/roles/", accounts.RolesView.as_view(), name="roles"),
    path("v1/roles/<int:pk>/", accounts.RoleView.as_view(), name="role"),
    path("v1/refusals/", records.RefusalsView.as_view(), name="refusals"),
    path("v1/audit/", records.AuditView.as_view(), name="audit"),
    re_path(r"^v1/auth/token/?$", accounts.TokenView.as_view(), name="token"),
    re_path(r"^v1/auth/connect/?$", decide.ConnectView.as_view(), name="auth-connect"),
    re_path(r"^v1/auth/publish/?$", decide.PublishView.as_view(), name="auth-publish"),
    re_path(r"^v1/auth/subscribe/?$", decide.SubscribeView.as_view(), name="auth-subscribe"),
    re_path(r"^v1/acl/explain/?$", decide.ExplainView.as_view(), name="explain"),
    re_path("", not_found, name="no-route"),
]
