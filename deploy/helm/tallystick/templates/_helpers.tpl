{{- define "tallystick.labels" -}}
{{ include "tallystick.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tallystick.selector" -}}
app.kubernetes.io/name: tallystick
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tallystick.name" -}}
{{- if contains "tallystick" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-tallystick" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tallystick.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tallystick.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tallystick.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The environment that names the files of secrets: those of servers, and with `owner` that of the owner. */ -}}
{{- define "tallystick.environment" -}}
- name: TALLYSTICK_CONFIG
  value: /etc/tallystick/tallystick.toml
{{- if .secrets.password.name }}
- name: TALLYSTICK_PASSWORD_FILE
  value: /run/secrets/tallystick/password
{{- end }}
{{- if .secrets.cache.name }}
- name: TALLYSTICK_CACHE_FILE
  value: /run/secrets/tallystick/cache
{{- end }}
{{- if .secrets.cacheKey.name }}
- name: TALLYSTICK_CACHE_KEY_FILE
  value: /run/secrets/tallystick/cache_key
{{- end }}
{{- if .secrets.webhookKeys.name }}
- name: TALLYSTICK_WEBHOOKS_KEY_FILE
  value: /run/secrets/tallystick/webhook_keys
{{- end }}
{{- if .owner }}
- name: TALLYSTICK_OWNER_CONFIG
  value: /etc/tallystick/owner.toml
{{- if .owner.name }}
- name: TALLYSTICK_OWNER_PASSWORD_FILE
  value: /run/secrets/tallystick/owner_password
{{- end }}
{{- end }}
{{- end }}

{{- define "tallystick.secretSources" -}}
{{- range $path, $secret := dict "password" .secrets.password "cache" .secrets.cache "cache_key" .secrets.cacheKey "webhook_keys" .secrets.webhookKeys "owner_password" (.owner | default dict) }}
{{- if $secret.name }}
- secret:
    name: {{ $secret.name }}
    items:
      - key: {{ $secret.key }}
        path: {{ $path }}
{{- end }}
{{- end }}
{{- end }}
