{{/*
Every worker with what it has from workerDefaults, as {workers: {key: values}} in JSON. A worker set to null is none.
*/}}
{{- define "inferqueue.workers" -}}
{{- $workers := dict -}}
{{- range $key, $own := .Values.workers -}}
{{- if kindIs "map" $own -}}
{{- $worker := include "inferqueue.overlaidWithNulls" (list $.Values.workerDefaults $own) | fromJson | include "inferqueue.component" | fromJson -}}
{{- $_ := set $worker "model" (default $key $worker.model) -}}
{{- $_ := set $worker "queue" (default $key $worker.queue) -}}
{{- $_ := set $workers $key $worker -}}
{{- end -}}
{{- end -}}
{{- dict "workers" $workers | toJson -}}
{{- end -}}

{{/* The name of a worker's Deployment and of its InferenceQueue. Takes the root and the key. */}}
{{- define "inferqueue.workerName" -}}
{{ include "inferqueue.fullname" (index . 0) }}-worker-{{ index . 1 }}
{{- end -}}

{{/* Takes the root and the key. */}}
{{- define "inferqueue.workerSelectorLabels" -}}
{{ include "inferqueue.selectorLabels" (list (index . 0) "worker") }}
inferqueue.dev/worker: {{ index . 1 | toYaml }}
{{- end -}}

{{/* The variables that a worker's values set, as {name: value} in JSON; a value from elsewhere is "". Takes the worker. */}}
{{- define "inferqueue.workerOwnEnv" -}}
{{- $own := deepCopy .env -}}
{{- range .extraEnv }}{{ $_ := set $own .name (default "" .value) }}{{ end -}}
{{- toJson $own -}}
{{- end -}}

{{/* Takes the root, the key and the worker. */}}
{{- define "inferqueue.workerEnv" -}}
{{- $root := index . 0 -}}
{{- $worker := index . 2 -}}
{{ include "inferqueue.sharedEnv" $root }}
- {name: QUEUE_NAME, value: {{ $worker.queue | quote }}}
- {name: MODEL_NAME, value: {{ $worker.model | quote }}}
- {name: MODEL_REPOSITORY, value: /models}
- name: WORKER_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: WORKER_IMAGE, value: {{ include "inferqueue.image" (list $root $worker.image (printf "workers.%s.image" (index . 1))) | quote }}}
- {name: GRACE_SECONDS, value: {{ sub (int64 $worker.terminationGracePeriodSeconds) 5 | quote }}}
- {name: MAX_RESULT_BYTES, value: {{ int64 $worker.maxResultBytes | quote }}}
{{- with $worker.predictor }}
- {name: PREDICTOR, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := $worker.env }}
{{- if has (kindOf $value) (list "float64" "int64") }}
- {name: {{ $name | quote }}, value: {{ (eq (floor $value) (float64 $value)) | ternary (int64 $value | toString) (toString $value) | quote }}}
{{- else }}
- {name: {{ $name | quote }}, value: {{ toString $value | quote }}}
{{- end }}
{{- end }}
{{- end -}}
