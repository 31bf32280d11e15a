{{/* Egress to name servers, wherever they are. */}}
{{- define "inferqueue.egressToNames" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* Egress to Redis: to its pod, or to the port of an external one, whose address stands in a Secret. */}}
{{- define "inferqueue.egressToRedis" -}}
- ports: [{port: {{ include "inferqueue.redisPort" . }}, protocol: TCP}]
  {{- if .Values.redis.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "inferqueue.selectorLabels" (list . "redis") | nindent 10 }}
  {{- end }}
{{- end -}}

{{/* Ingress of Prometheus. */}}
{{- define "inferqueue.ingressToMetrics" -}}
- ports: [{port: metrics, protocol: TCP}]
  {{- with .Values.networkPolicy.monitoring }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
