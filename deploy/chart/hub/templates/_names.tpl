{{- define "hub.labels" -}}
app.kubernetes.io/name: nave-hub
{{- end }}

{{- define "hub.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What both containers have in common. */}}
{{- define "hub.container" -}}
image: {{ include "hub.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
# Where `kubectl exec nave-hub-0 -- hub …` finds its context.
- {name: XDG_CONFIG_HOME, value: /var/lib/nave/hub/config}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
- {name: data, mountPath: /var/lib/nave/hub}
- {name: ca, mountPath: /var/lib/nave/ca{{ if .Values.ca.secret }}, readOnly: true{{ end }}}
{{- if .Values.config.secret }}
- {name: config, mountPath: /etc/nave, readOnly: true}
{{- end }}
{{- end }}
