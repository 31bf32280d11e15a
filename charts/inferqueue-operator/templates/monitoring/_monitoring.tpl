{{/* Takes the root and a switch: says so when a cluster does not know the objects that the switch asks for. */}}
{{- define "inferqueue-operator.needsPrometheusOperator" -}}
{{- if not ((index . 0).Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%s: this cluster does not know monitoring.coreos.com/v1; install the Prometheus Operator first, or, for `helm template`, add --api-versions monitoring.coreos.com/v1" (index . 1)) -}}
{{- end -}}
{{- end -}}
