{{/*
A map laid over another one, as JSON: its values win, maps are merged, and a null takes a key away. Takes both maps.
Sprig's mergeOverwrite would let neither false, 0 nor an empty list win.
*/}}
{{- define "inferqueue.overlaid" -}}
{{- include "inferqueue.overlaidWithNulls" . | fromJson | include "inferqueue.withoutNulls" -}}
{{- end -}}

{{/* The same, with its nulls: for a map that is itself laid over another one. */}}
{{- define "inferqueue.overlaidWithNulls" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $below := get $result $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $result $key (include "inferqueue.overlaidWithNulls" (list $below $value) | fromJson) -}}
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
{{- define "inferqueue.withoutNulls" -}}
{{- $result := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $result $key (include "inferqueue.withoutNulls" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/*
The values of a component without nulls, but for its security contexts, which are laid over the restricted ones: there
a null takes a restriction away.
*/}}
{{- define "inferqueue.component" -}}
{{- $contexts := dict "podSecurityContext" .podSecurityContext "securityContext" .securityContext -}}
{{- merge $contexts (include "inferqueue.withoutNulls" . | fromJson) | toJson -}}
{{- end -}}
