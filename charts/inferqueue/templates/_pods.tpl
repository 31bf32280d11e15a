{{/*
Labels of a pod: without the versions of the chart and the program, which would start every pod anew when they alone
change. Takes the root, the component's values, and its selector labels.
*/}}
{{- define "inferqueue.podLabels" -}}
{{- $fixed := mergeOverwrite (dict "app.kubernetes.io/part-of" "inferqueue") (index . 2 | fromYaml) -}}
{{- $common := include "inferqueue.withoutNulls" (index . 0).Values.commonLabels | fromJson -}}
{{- mergeOverwrite $common (deepCopy (index . 1).podLabels) $fixed | toYaml -}}
{{- end -}}

{{/*
What the pods of every component begin with. Takes the root, the component's values, and a security context that names
the user whom its image is made for. No pod but the operator's talks to the API server, so none has a token.
*/}}
{{- define "inferqueue.podBasics" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
serviceAccountName: {{ include "inferqueue.serviceAccountName" $root | toYaml }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- with $root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- $restricted := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- include "inferqueue.overlaid" (list (merge $restricted (index . 2)) $values.podSecurityContext) | fromJson | toYaml | nindent 2 }}
{{- end -}}

{{/* Where the pods of a component run. Takes the component's values and its selector labels. */}}
{{- define "inferqueue.podPlacement" -}}
{{- $values := index . 0 -}}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | toYaml }}
{{- end }}
{{- with $values.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (index $ 1 | fromYaml)) }}
  - {{ (hasKey . "labelSelector" | ternary . (merge $own .)) | toYaml | indent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The user of our own images. */}}
{{- define "inferqueue.ownUser" -}}
{runAsUser: 65532, runAsGroup: 65532}
{{- end -}}

{{/* The security context of every container. Takes the component's values. */}}
{{- define "inferqueue.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "inferqueue.overlaid" (list $restricted .securityContext) | fromJson | toYaml -}}
{{- end -}}

{{/*
A list of environment variables in which each name stands once: the later list wins. Takes lists of Kubernetes'
EnvVars. Server-side apply refuses a name that stands twice.
*/}}
{{- define "inferqueue.env" -}}
{{- $seen := dict -}}
{{- $env := list -}}
{{- range reverse (concat (index . 0) (index . 1)) -}}
{{- if not (hasKey $seen .name) -}}
{{- $_ := set $seen .name true -}}
{{- $env = prepend $env . -}}
{{- end -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* What proxy and workers are told of Redis and of the jobs alike. */}}
{{- define "inferqueue.sharedEnv" -}}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "inferqueue.redisSecret" . | toYaml }}
      key: {{ include "inferqueue.redisSecretKey" . | toYaml }}
{{- if include "inferqueue.redisCaKey" . }}
- {name: REDIS_TLS_CA_FILE, value: /etc/inferqueue/redis-ca/ca.crt}
{{- end }}
- {name: JOB_TTL, value: {{ int64 .Values.queue.jobTtlSeconds | quote }}}
- {name: QUEUE_TTL, value: {{ int64 .Values.queue.queueTtlSeconds | quote }}}
- {name: IDEMPOTENCY_TTL, value: {{ int64 .Values.queue.idempotencyTtlSeconds | quote }}}
- {name: DEAD_MAX_BYTES, value: {{ int64 .Values.queue.deadMaxBytes | quote }}}
- {name: DEAD_TTL, value: {{ int64 .Values.queue.deadTtlSeconds | quote }}}
- {name: PREDICTION_TIMEOUT, value: {{ int64 .Values.queue.predictionTimeoutSeconds | quote }}}
- {name: LEASE_SECONDS, value: {{ int64 .Values.queue.leaseSeconds | quote }}}
- {name: MAX_ATTEMPTS, value: {{ int64 .Values.queue.maxAttempts | quote }}}
{{- end -}}

{{/* The volumes and mounts that proxy and workers have alike. */}}
{{- define "inferqueue.sharedVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- with include "inferqueue.redisCaKey" . }}
- name: redis-ca
  secret:
    secretName: {{ include "inferqueue.redisSecret" $ | toYaml }}
    items: [{key: {{ . | quote }}, path: ca.crt}]
{{- end }}
{{- end -}}

{{- define "inferqueue.sharedVolumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "inferqueue.redisCaKey" . }}
- {name: redis-ca, mountPath: /etc/inferqueue/redis-ca, readOnly: true}
{{- end }}
{{- end -}}
