{{- define "spoke.labels" -}}
app.kubernetes.io/name: nave-spoke
{{- end }}

{{/* Objects outside the spoke's own namespace: two spokes may live in two namespaces of one cluster. */}}
{{- define "spoke.elsewhere" -}}
nave-spoke-{{ .Release.Namespace }}
{{- end }}

{{- define "spoke.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "spoke.subject" -}}
- kind: ServiceAccount
  name: nave-spoke
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* Everything that the spoke looks at, when its rights do not cover all namespaces: one list, sorted, without duplicates. */}}
{{- define "spoke.namespaces" -}}
{{- $all := .Values.rbac.namespaces -}}
{{- range .Values.rbac.impersonate -}}
{{- $all = append $all (splitList "/" . | first) -}}
{{- end -}}
{{- uniq $all | sortAlpha | join "," -}}
{{- end }}
