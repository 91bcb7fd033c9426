"""The routes of /api/v1/cluster/. Each name stands in `rbac.ENDPOINTS`; what does not is refused."""

from __future__ import annotations

from django.urls import path

from apps.cluster.api import configuration, maintenance, messages, nodes, sessions, topics

urlpatterns = [
    path("status/", nodes.StatusView.as_view(), name="cluster-status"),
    path("nodes/", nodes.NodesView.as_view(), name="cluster-nodes"),
    path("nodes/<int:pk>/", nodes.NodeView.as_view(), name="cluster-node"),
    path("clients/", sessions.ClientsView.as_view(), name="cluster-clients"),
    path("sessions/", sessions.SessionsView.as_view(), name="cluster-sessions"),
    path("sessions/<int:pk>/", sessions.SessionView.as_view(), name="cluster-session"),
    path("sessions/<int:pk>/kick/", sessions.KickView.as_view(), name="cluster-session-kick"),
    path("sessions/<int:pk>/subscribe/", sessions.SubscribeView.as_view(), name="cluster-session-subscribe"),
    path(
        "sessions/<int:pk>/unsubscribe/",
        sessions.UnsubscribeView.as_view(),
        name="cluster-session-unsubscribe",
    ),
    path("sessions/<int:pk>/queue/", sessions.QueueView.as_view(), name="cluster-session-queue"),
    path("sessions/<int:pk>/queue/purge/", sessions.PurgeView.as_view(), name="cluster-session-purge"),
    path("sessions/<int:pk>/queue/replay/", sessions.ReplayView.as_view(), name="cluster-session-replay"),
    path("topics/", topics.TopicsView.as_view(), name="cluster-topics"),
    path("subscriptions/", topics.SubscriptionsView.as_view(), name="cluster-subscriptions"),
    path("recipients/", topics.RecipientsView.as_view(), name="cluster-recipients"),
    path("retained/", messages.RetainedView.as_view(), name="cluster-retained"),
    path("retained/message/", messages.RetainedMessageView.as_view(), name="cluster-retained-message"),
    path("drops/", messages.DropsView.as_view(), name="cluster-drops"),
    path("publish/", messages.PublishView.as_view(), name="cluster-publish"),
    path("nodes/<int:pk>/drain/", maintenance.DrainView.as_view(), name="cluster-node-drain"),
    path(
        "nodes/<int:pk>/configuration/",
        configuration.ConfigurationView.as_view(),
        name="cluster-node-configuration",
    ),
    path(
        "nodes/<int:pk>/configuration/diff/",
        configuration.DiffView.as_view(),
        name="cluster-node-configuration-diff",
    ),
    path(
        "nodes/<int:pk>/configuration/reload/",
        configuration.ReloadView.as_view(),
        name="cluster-node-configuration-reload",
    ),
    path("nodes/<int:pk>/dump/", configuration.DumpView.as_view(), name="cluster-node-dump"),
    path("traces/", maintenance.TracesView.as_view(), name="cluster-traces"),
    path("traces/<slug:trace>/", maintenance.TraceView.as_view(), name="cluster-trace"),
    path("traces/<slug:trace>/stop/", maintenance.StopTraceView.as_view(), name="cluster-trace-stop"),
    path("bridges/", nodes.BridgesView.as_view(), name="cluster-bridges"),
    path("bridges/<str:node>/pause/", nodes.PauseBridgeView.as_view(), name="cluster-bridge-pause"),
    path("bridges/<str:node>/resume/", nodes.ResumeBridgeView.as_view(), name="cluster-bridge-resume"),
]
