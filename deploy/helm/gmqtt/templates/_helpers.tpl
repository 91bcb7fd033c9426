{{- define "gmqtt.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}-gmqtt{{- end }}

{{- define "gmqtt.selector" -}}
app.kubernetes.io/name: gmqtt
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gmqtt.match" -}}
{ matchLabels: { app.kubernetes.io/name: gmqtt, app.kubernetes.io/instance: {{ .Release.Name }} } }
{{- end }}

{{- define "gmqtt.labels" -}}
{{ include "gmqtt.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "gmqtt.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}

{{/* Values that cannot work end here, with the remedy. */}}
{{- define "gmqtt.check" -}}
{{- $v := .Values }}
{{- if and (not $v.cluster.enabled) (or (gt (int $v.replicas) 1) $v.autoscaling.enabled) }}
{{- fail "more than one node needs cluster.enabled=true" }}
{{- end }}
{{- if $v.cluster.enabled }}
{{- range $key := list "secretKey" "database" "redis" }}
{{- if not (index $v $key "existingSecret") }}{{ fail (printf "cluster.enabled needs %s.existingSecret" $key) }}{{ end }}
{{- end }}
{{- if not $v.kafka.bootstrapServers }}{{ fail "cluster.enabled needs kafka.bootstrapServers" }}{{ end }}
{{- end }}
{{- if and $v.metrics.serviceMonitor.enabled (not $v.metrics.token.existingSecret) }}
{{- fail "metrics.serviceMonitor.enabled needs metrics.token.existingSecret: /metrics answers nobody without a token" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}{{ fail "ingress.enabled needs ingress.host" }}{{ end }}
{{- end }}

{{/* Where people reach the console: the ingress, and what is named. */}}
{{- define "gmqtt.publicUrls" -}}
{{- $urls := .Values.http.publicUrls }}
{{- if .Values.ingress.enabled }}
{{- $urls = append $urls (printf "%s://%s" (ternary "https" "http" (ne .Values.ingress.tlsSecret "")) .Values.ingress.host) }}
{{- end }}
{{- join "," ($urls | uniq) }}
{{- end }}

{{- define "gmqtt.env" -}}
{{- $v := .Values -}}
- name: GMQTT_NODE__NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: GMQTT_LOG__FORMAT
  value: json
{{- if $v.secretKey.existingSecret }}
- name: GMQTT_SECRET_KEY_FILE
  value: /run/gmqtt/secret_key
{{- end }}
{{- if $v.secretKeyFallbacks.existingSecret }}
- name: GMQTT_SECRET_KEY_FALLBACKS_FILE
  value: /run/gmqtt/secret_key_fallbacks
{{- end }}
{{- with include "gmqtt.publicUrls" . }}
- name: GMQTT_HTTP__PUBLIC_URLS
  value: {{ . | quote }}
{{- end }}
{{- with $v.http.trustedProxies }}
- name: GMQTT_HTTP__TRUSTED_PROXIES
  value: {{ join "," . | quote }}
- name: GMQTT_HTTP__PROXY_HEADER
  value: {{ $v.http.proxyHeader }}
{{- end }}
{{- if $v.database.existingSecret }}
- name: GMQTT_DATABASE__URL_FILE
  value: /run/gmqtt/database_url
{{- end }}
{{- if $v.metrics.token.existingSecret }}
- name: GMQTT_CONSOLE__METRICS_TOKEN_FILE
  value: /run/gmqtt/metrics_token
{{- end }}
{{- if $v.tls.existingSecret }}
- name: GMQTT_LISTENERS__TLS
  value: mqtts://0.0.0.0:8883
- name: GMQTT_LISTENERS__TLS_CERT
  value: /run/gmqtt-tls/tls.crt
- name: GMQTT_LISTENERS__TLS_KEY
  value: /run/gmqtt-tls/tls.key
{{- end }}
{{- if $v.cluster.enabled }}
- name: GMQTT_CLUSTER__ENABLED
  value: "true"
- name: GMQTT_SESSIONS__PROVIDER
  value: redis
- name: GMQTT_REDIS__URL_FILE
  value: /run/gmqtt/redis_url
- name: GMQTT_BROKER__PROVIDER
  value: kafka
- name: GMQTT_BROKER__KAFKA__BOOTSTRAP_SERVERS
  value: {{ join "," $v.kafka.bootstrapServers | quote }}
- name: GMQTT_BROKER__KAFKA__REPLICATION_FACTOR
  value: {{ $v.kafka.replicationFactor | quote }}
- name: GMQTT_BROKER__KAFKA__PARTITIONS
  value: {{ $v.kafka.partitions | quote }}
- name: GMQTT_BROKER__KAFKA__TOPICS
  value: {{ join "," $v.kafka.topics | quote }}
{{- if $v.kafka.options.existingSecret }}
- name: GMQTT_BROKER__KAFKA__OPTIONS_FILE
  value: /run/gmqtt/kafka_options
{{- end }}
{{- end }}
{{- range $name, $value := $v.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "gmqtt.secret" }}
{{- if .from.existingSecret }}
- secret:
    name: {{ .from.existingSecret }}
    items: [{ key: {{ .from.key | quote }}, path: {{ .path }} }]
{{- end }}
{{- end }}

{{- define "gmqtt.volumes" -}}
{{- $v := .Values -}}
- name: tmp
  emptyDir: {}
- name: bridge
  emptyDir: {}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - downwardAPI: { items: [{ path: name, fieldRef: { fieldPath: metadata.name } }] }
{{- include "gmqtt.secret" (dict "from" $v.secretKey "path" "secret_key") | indent 6 }}
{{- include "gmqtt.secret" (dict "from" $v.secretKeyFallbacks "path" "secret_key_fallbacks") | indent 6 }}
{{- include "gmqtt.secret" (dict "from" $v.database "path" "database_url") | indent 6 }}
{{- include "gmqtt.secret" (dict "from" $v.metrics.token "path" "metrics_token") | indent 6 }}
{{- if $v.cluster.enabled }}
{{- include "gmqtt.secret" (dict "from" $v.redis "path" "redis_url") | indent 6 }}
{{- include "gmqtt.secret" (dict "from" $v.kafka.options "path" "kafka_options") | indent 6 }}
{{- end }}
{{- with $v.tls.existingSecret }}
- name: tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gmqtt.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: bridge, mountPath: /bridge }
- { name: secrets, mountPath: /run/gmqtt, readOnly: true }
{{- if .Values.tls.existingSecret }}
- { name: tls, mountPath: /run/gmqtt-tls, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gmqtt.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "gmqtt.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: ["ALL"] }
{{- end }}
