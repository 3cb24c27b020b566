{{- define "nave-spoke.labels" -}}
app.kubernetes.io/name: nave-spoke
app.kubernetes.io/part-of: nave
{{- end }}
{{- define "nave-spoke.subject" -}}
- kind: ServiceAccount
  name: nave-spoke
  namespace: {{ .Values.namespace.name }}
{{- end }}
