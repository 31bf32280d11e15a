{{/* Refuses what cannot be the name of a queue. Takes the key and the name. */}}
{{- define "inferqueue.checkQueueName" -}}
{{- $name := index . 1 -}}
{{- $own := "^(job:.*|idem:.*|models|.*:(leases|delayed|deadlines|dead|workers|workers:reports|retired|stats|wake|learned|decision|model))$" -}}
{{- if not (regexMatch "^[A-Za-z0-9_.:-]{1,200}$" $name) -}}
{{- fail (printf "%s: %q is no queue's name; take 1 to 200 letters, digits, '_', '.', ':' or '-'" (index . 0) $name) -}}
{{- end -}}
{{- if regexMatch $own $name -}}
{{- fail (printf "%s: %q is the name of another key of inferqueue; take one that neither is 'models', nor begins with 'job:' or 'idem:', nor ends like a key of a queue (such as ':leases')" (index . 0) $name) -}}
{{- end -}}
{{- end -}}

{{/* Refuses what cannot be a disruption budget. Takes a component's path and its values. */}}
{{- define "inferqueue.checkBudget" -}}
{{- $budget := (index . 1).podDisruptionBudget.maxUnavailable -}}
{{- if not (regexMatch "^([0-9]+|[0-9]{1,2}%|100%)$" (toString $budget)) -}}
{{- fail (printf "%s.podDisruptionBudget.maxUnavailable: %q is neither a number of pods nor a share such as 25%%" (index . 0) (toString $budget)) -}}
{{- end -}}
{{- end -}}
