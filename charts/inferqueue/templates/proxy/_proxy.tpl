{{- define "inferqueue.proxyEnv" -}}
{{ include "inferqueue.sharedEnv" . }}
- {name: QUEUE_NAME, value: {{ .Values.proxy.defaultQueue | quote }}}
- {name: QUEUE_MAX_LENGTH, value: {{ int64 .Values.queue.maxLength | quote }}}
- {name: MAX_BODY_BYTES, value: {{ int64 .Values.proxy.maxBodyBytes | quote }}}
{{- if .Values.proxy.apiKeys.existingSecret }}
- {name: API_KEYS_FILE, value: {{ printf "/etc/inferqueue/api-keys/%s" .Values.proxy.apiKeys.key | quote }}}
{{- end }}
{{- end -}}
