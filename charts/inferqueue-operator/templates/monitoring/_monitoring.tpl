{{/* Says so when a cluster does not know the objects that metrics.podMonitor.enabled asks for. */}}
{{- define "inferqueue-operator.needsPrometheusOperator" -}}
{{- if not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%smetrics.podMonitor.enabled: this cluster does not know monitoring.coreos.com/v1; install the Prometheus Operator first, or, for `helm template`, add --api-versions monitoring.coreos.com/v1" (include "inferqueue-operator.path" .)) -}}
{{- end -}}
{{- end -}}
