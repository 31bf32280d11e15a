{{/* Names follow the chart inferqueue, which this one is a part of: <fullname>-operator. */}}
{{- define "inferqueue-operator.fullname" -}}
{{- $name := default "inferqueue" .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = $full | trunc 40 | trimSuffix "-" -}}
{{- $full = hasSuffix "-operator" $full | ternary $full (printf "%s-operator" $full) -}}
{{- $full = default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "%sfullnameOverride: the operator would be called %q; its name may hold lower case letters, digits and '-' only: set %[1]sfullnameOverride (or %[1]snameOverride) to what does" (include "inferqueue-operator.path" .) $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* What stands before the keys of this chart's values where it is a part of another one: its alias there. */}}
{{- define "inferqueue-operator.path" -}}
{{- contains "/charts/" .Template.BasePath | ternary (printf "%s." .Chart.Name) "" -}}
{{- end -}}

{{- define "inferqueue-operator.selectorLabels" -}}
app.kubernetes.io/name: inferqueue-operator
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "inferqueue-operator.labels" -}}
helm.sh/chart: inferqueue-operator-{{ .Chart.Version | replace "+" "_" }}
{{ include "inferqueue-operator.selectorLabels" . }}
app.kubernetes.io/part-of: inferqueue
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with include "inferqueue-operator.withoutNulls" .Values.commonLabels | fromJson }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without versions, which would start the pod anew when they alone change. */}}
{{- define "inferqueue-operator.podLabels" -}}
{{- $fixed := merge (dict "app.kubernetes.io/part-of" "inferqueue") (include "inferqueue-operator.selectorLabels" . | fromYaml) -}}
{{- $common := include "inferqueue-operator.withoutNulls" .Values.commonLabels | fromJson -}}
{{- $own := include "inferqueue-operator.withoutNulls" .Values.podLabels | fromJson -}}
{{- mergeOverwrite $common $own $fixed | toYaml -}}
{{- end -}}

{{- define "inferqueue-operator.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "inferqueue-operator.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "inferqueue-operator.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default .Chart.AppVersion $image.tag -}}
{{- $registry := coalesce .Values.global.imageRegistry $image.registry | default "" | trimSuffix "/" -}}
{{- $name := printf "%s/%s" $registry $image.repository | trimPrefix "/" -}}
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

{{/*
The container's environment: the chart's own variables, of which extraEnv may replace each. A name stands once, and the
last of its values wins: server-side apply refuses a name that stands twice.
*/}}
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
{{- $seen := list -}}
{{- $kept := list -}}
{{- range reverse (concat $env .Values.extraEnv) -}}
{{- if not (has .name $seen) -}}
{{- $seen = append $seen .name -}}
{{- $kept = prepend $kept . -}}
{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
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

{{/*
A map without the keys that are null, as JSON: Helm leaves a null where the chart has no default, such as one with
which a values file takes back what the file before it said.
*/}}
{{- define "inferqueue-operator.withoutNulls" -}}
{{- $result := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $result $key (include "inferqueue-operator.withoutNulls" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}
