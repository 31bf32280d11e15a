{{/* Redis takes three quarters of what its container may: a rewrite of its file and the buffers need the rest. */}}
{{- define "inferqueue.redisMaxMemory" -}}
{{- $own := .Values.redis.maxMemory -}}
{{- $limit := include "inferqueue.redisMemoryLimit" . -}}
{{- $known := regexMatch "^[0-9]+(Ki|Mi|Gi|k|M|G)?$" $limit -}}
{{- if $own -}}
{{- if not (regexMatch "^[1-9][0-9]*([kmg]b?|b)?$" (lower $own)) -}}
{{- fail (printf "redis.maxMemory: %q is no whole number of k, kb, m, mb, g or gb, as Redis writes it: such as 384mb" $own) -}}
{{- end -}}
{{- if and $known (ge (include "inferqueue.bytes" $own | int64) (include "inferqueue.bytes" $limit | int64)) -}}
{{- fail (printf "redis.maxMemory (%s) must be less than redis.resources.limits.memory (%s), or Redis is killed before it is full" $own $limit) -}}
{{- end -}}
{{- $own -}}
{{- else if $known -}}
{{- div (mul (include "inferqueue.bytes" $limit | int64) 3) 4 -}}
{{- else -}}
{{- fail (printf "redis.resources.limits.memory: %q is no whole number of Ki, Mi, Gi, k, M or G, so it does not tell how much Redis may hold; set redis.maxMemory, such as 384mb" $limit) -}}
{{- end -}}
{{- end -}}

{{/* The memory limit of Redis as text; empty when there is none. */}}
{{- define "inferqueue.redisMemoryLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.redis.resources | default "" -}}
{{- kindIs "string" $limit | ternary $limit ($limit | int64 | toString) -}}
{{- end -}}

{{/* The bytes of a size as Kubernetes or Redis writes it. */}}
{{- define "inferqueue.bytes" -}}
{{- $units := dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "k" 1000 "M" 1000000 "G" 1000000000 -}}
{{- $units = merge $units (dict "b" 1 "kb" 1024 "m" 1000000 "mb" 1048576 "g" 1000000000 "gb" 1073741824) -}}
{{- $unit := regexFind "[A-Za-z]*$" . -}}
{{- mul (trimSuffix $unit . | int64) (get $units $unit | default (get $units (lower $unit))) -}}
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
