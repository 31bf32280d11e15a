{{/* Redis takes three quarters of what its container may: a rewrite of its file and the buffers need the rest. */}}
{{- define "inferqueue.redisMaxMemory" -}}
{{- if .Values.redis.maxMemory -}}
{{- .Values.redis.maxMemory -}}
{{- else -}}
{{- $limit := dig "limits" "memory" "" .Values.redis.resources | toString -}}
{{- if not (regexMatch "^[0-9]+(Ki|Mi|Gi|k|M|G)?$" $limit) -}}
{{- fail (printf "redis.resources.limits.memory: %q is no whole number of Ki, Mi, Gi, k, M or G, so it does not tell how much Redis may hold; set redis.maxMemory, such as 384mb" $limit) -}}
{{- end -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "k" 1000 "M" 1000000 "G" 1000000000 -}}
{{- $unit := regexFind "[A-Za-z]*$" $limit -}}
{{- div (mul (int64 (trimSuffix $unit $limit)) (get $units $unit | default 1) 3) 4 -}}
{{- end -}}
{{- end -}}

{{/* The files of Redis: its configuration, and what starts it. */}}
{{- define "inferqueue.redisFiles" -}}
redis.conf: |
  port 6379
  bind * -::*
  # Outside of the pod nobody comes in without the password, nor past the NetworkPolicy.
  protected-mode no
  aclfile /run/redis/users.acl
  dir /data

  # Every accepted job is in the append-only file, synced each second; snapshots would only cost.
  appendonly yes
  appendfsync {{ .Values.redis.appendFsync }}
  save ""
  aof-use-rdb-preamble yes
  aof-load-truncated yes
  auto-aof-rewrite-percentage 100
  auto-aof-rewrite-min-size 64mb
  no-appendfsync-on-rewrite no

  # A queue that evicts loses jobs: a full Redis refuses new ones instead.
  maxmemory {{ include "inferqueue.redisMaxMemory" . }}
  maxmemory-policy noeviction

  # A worker that waits for jobs is silent for long; a dead connection is found by the kernel.
  timeout 0
  tcp-keepalive 60
  {{- with .Values.redis.extraConfig }}

  {{- . | trim | nindent 2 }}
  {{- end }}
start.sh: |
  {{- .Files.Get "files/redis-start.sh" | trim | nindent 2 }}
{{- end -}}

{{/* What asks Redis for a PONG. The password comes from REDISCLI_AUTH, which redis-cli reads itself. */}}
{{- define "inferqueue.redisPing" -}}
redis-cli ping
{{- end -}}
