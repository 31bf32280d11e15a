{{/*
A map laid over another one, as JSON: its values win, maps are merged, and a null takes a key away. Takes both maps.
Sprig's mergeOverwrite would let neither false, 0 nor an empty list win.
*/}}
{{- define "inferqueue.overlaid" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $below := get $result $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $result $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $result $key (include "inferqueue.overlaid" (list $below $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}
