{{/* The reference of an image. Takes the root, the image's values, and their key for the message. */}}
{{- define "inferqueue.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $tag := default $root.Chart.AppVersion $image.tag -}}
{{- if not $image.repository -}}
{{- fail (printf "%s.repository is empty; name the image" (index . 2)) -}}
{{- end -}}
{{- if and (eq $tag "latest") (not $image.digest) -}}
{{- fail (printf "%s.tag: 'latest' is refused, because nobody could say what runs; name a version or set %s.digest" (index . 2) (index . 2)) -}}
{{- end -}}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" (default "" $image.digest)) -}}
{{- fail (printf "%s.digest: %q is no digest; it is sha256: and 64 digits from 0 to f" (index . 2) $image.digest) -}}
{{- end -}}
{{- $registry := coalesce $root.Values.global.imageRegistry $image.registry | default "" | trimSuffix "/" -}}
{{- $name := printf "%s/%s" $registry $image.repository | trimPrefix "/" -}}
{{- if $image.digest -}}{{ $name }}@{{ $image.digest }}{{- else -}}{{ $name }}:{{ $tag }}{{- end -}}
{{- end -}}
