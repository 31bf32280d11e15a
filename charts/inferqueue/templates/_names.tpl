{{/* What the name of every object of the release begins with. Names of Services begin with a letter. */}}
{{- define "inferqueue.fullname" -}}
{{- $name := default "inferqueue" .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "fullnameOverride: the objects' names would begin with %q; they may hold lower case letters, digits and '-' only, and begin with a letter: set fullnameOverride (or nameOverride) to what does" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* Takes the root and a component. */}}
{{- define "inferqueue.selectorLabels" -}}
app.kubernetes.io/name: inferqueue
app.kubernetes.io/instance: {{ (index . 0).Release.Name | toYaml }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Takes the root and a component. */}}
{{- define "inferqueue.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: inferqueue-{{ $root.Chart.Version | replace "+" "_" }}
{{ include "inferqueue.selectorLabels" . }}
app.kubernetes.io/part-of: inferqueue
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with include "inferqueue.withoutNulls" $root.Values.commonLabels | fromJson }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "inferqueue.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "inferqueue.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{/* The Secret that holds the address of Redis. */}}
{{- define "inferqueue.redisSecret" -}}
{{- if .Values.redis.enabled -}}
{{- default (printf "%s-redis" (include "inferqueue.fullname" .)) .Values.redis.auth.existingSecret -}}
{{- else -}}
{{- .Values.externalRedis.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* The key of that Secret that holds it. */}}
{{- define "inferqueue.redisSecretKey" -}}
{{- .Values.redis.enabled | ternary "url" .Values.externalRedis.key -}}
{{- end -}}

{{/* The key of that Secret that holds CA certificates; empty where the system's own do. */}}
{{- define "inferqueue.redisCaKey" -}}
{{- .Values.redis.enabled | ternary "" .Values.externalRedis.caKey -}}
{{- end -}}

{{/* The port on which Redis listens. */}}
{{- define "inferqueue.redisPort" -}}
{{- .Values.redis.enabled | ternary 6379 .Values.externalRedis.port -}}
{{- end -}}

{{/* Who may read that Secret to watch the queues: the ServiceAccount of the operator, as {name, namespace}. */}}
{{- define "inferqueue.operatorAccount" -}}
{{- $account := .Values.operatorAccess.serviceAccount -}}
{{- $name := $account.name -}}
{{- if and (not $name) .Values.operator.enabled -}}
{{- $name = include "inferqueue-operator.serviceAccountName" .Subcharts.operator -}}
{{- end -}}
{{- dict "name" $name "namespace" (default .Release.Namespace $account.namespace) | toJson -}}
{{- end -}}
