{{/* Names follow the chart inferqueue, which this one is a part of: <fullname>-operator. */}}
{{- define "inferqueue-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default "inferqueue" .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = $full | trunc 40 | trimSuffix "-" -}}
{{- hasSuffix "-operator" $full | ternary $full (printf "%s-operator" $full) -}}
{{- end -}}
{{- end -}}

{{- define "inferqueue-operator.selectorLabels" -}}
app.kubernetes.io/name: inferqueue-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "inferqueue-operator.labels" -}}
helm.sh/chart: inferqueue-operator-{{ .Chart.Version | replace "+" "_" }}
{{ include "inferqueue-operator.selectorLabels" . }}
app.kubernetes.io/part-of: inferqueue
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without versions, which would start the pod anew when they alone change. */}}
{{- define "inferqueue-operator.podLabels" -}}
{{- $fixed := merge (dict "app.kubernetes.io/part-of" "inferqueue") (include "inferqueue-operator.selectorLabels" . | fromYaml) -}}
{{- mergeOverwrite (deepCopy .Values.commonLabels) (deepCopy .Values.podLabels) $fixed | toYaml -}}
{{- end -}}

{{- define "inferqueue-operator.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "inferqueue-operator.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "inferqueue-operator.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default .Chart.AppVersion $image.tag -}}
{{- $name := printf "%s/%s" (coalesce .Values.global.imageRegistry $image.registry | default "") $image.repository | trimPrefix "/" -}}
{{- if $image.digest -}}{{ $name }}@{{ $image.digest }}{{- else -}}{{ $name }}:{{ $tag }}{{- end -}}
{{- end -}}

{{/* The namespaces that are served, as a JSON list; none for all of them. */}}
{{- define "inferqueue-operator.namespaces" -}}
{{- if .Values.clusterWide -}}[]
{{- else -}}{{ default (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha | toJson }}
{{- end -}}
{{- end -}}

{{/* The rules of role.yaml, the one place where the operator's rights are written. */}}
{{- define "inferqueue-operator.rules" -}}
{{- toYaml (.Files.Get "role.yaml" | fromYaml).rules -}}
{{- end -}}

{{/* The container's environment: the chart's own variables, of which extraEnv may replace each. */}}
{{- define "inferqueue-operator.env" -}}
{{- $namespaces := join "," (include "inferqueue-operator.namespaces" . | fromJsonArray) -}}
{{- $env := list (dict "name" "WATCH_NAMESPACES" "value" (default "*" $namespaces)) -}}
{{- with .Values.redis.existingSecret -}}
{{- $address := dict "name" . "key" $.Values.redis.key -}}
{{- $env = append $env (dict "name" "REDIS_URL" "valueFrom" (dict "secretKeyRef" $address)) -}}
{{- end -}}
{{- if .Values.redis.caKey -}}
{{- $env = append $env (dict "name" "REDIS_TLS_CA_FILE" "value" "/etc/inferqueue/redis-ca/ca.crt") -}}
{{- end -}}
{{- $extra := list -}}
{{- range .Values.extraEnv }}{{ $extra = append $extra .name }}{{ end -}}
{{- $kept := list -}}
{{- range $env }}{{ if not (has .name $extra) }}{{ $kept = append $kept . }}{{ end }}{{ end -}}
{{- concat $kept .Values.extraEnv | toYaml -}}
{{- end -}}

{{- define "inferqueue-operator.podSecurityContext" -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- include "inferqueue-operator.overlaid" (list $restricted .Values.podSecurityContext) | fromJson | toYaml -}}
{{- end -}}

{{- define "inferqueue-operator.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "inferqueue-operator.overlaid" (list $restricted .Values.securityContext) | fromJson | toYaml -}}
{{- end -}}

{{/*
A map laid over another one, as JSON: its values win, maps are merged, and a null takes a key away. Takes both maps.
Sprig's mergeOverwrite would let neither false, 0 nor an empty list win.
*/}}
{{- define "inferqueue-operator.overlaid" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $below := get $result $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $result $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $result $key (include "inferqueue-operator.overlaid" (list $below $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}
