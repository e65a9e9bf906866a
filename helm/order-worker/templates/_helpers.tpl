{{/* Names and labels. */}}

{{- define "order-worker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "order-worker.fullname" -}}
{{- $name := include "order-worker.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "order-worker.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "order-worker.selector" . }}
{{- end }}

{{- define "order-worker.selector" -}}
app.kubernetes.io/name: {{ include "order-worker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "order-worker.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "order-worker.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "order-worker.daprConfiguration" -}}
{{- .Values.dapr.configuration.name | default (include "order-worker.fullname" .) }}
{{- end }}

{{/* Containers: what all of them share. */}}

{{- define "order-worker.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "order-worker.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "order-worker.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A container that is asked for one thing: it needs the database and nothing else. (dict "root" $ "args" (list …) "resources" …) */}}
{{- define "order-worker.command" -}}
{{- $values := .root.Values -}}
image: {{ include "order-worker.image" .root }}
imagePullPolicy: {{ $values.image.pullPolicy }}
command:
  - /app/bin/worker
  {{- range .args }}
  - {{ . | quote }}
  {{- end }}
securityContext:
  {{- include "order-worker.containerSecurity" .root | nindent 2 }}
resources:
  {{- toYaml .resources | nindent 2 }}
{{- with $values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The worker's secrets: its variable, and the secret's name and key. */}}
{{- define "order-worker.secrets" -}}
{{- $values := .Values -}}
- { variable: DATABASE_URL, name: {{ $values.database.secret.name }}, key: {{ $values.database.secret.key }} }
{{- with $values.redis.secret }}{{ if .name }}
- { variable: ORDER_DATA_REDIS_PASSWORD, name: {{ .name }}, key: {{ .key }} }
{{- end }}{{ end }}
{{- with $values.consul.secret }}{{ if and $values.consul.addr .name }}
- { variable: CONSUL_HTTP_TOKEN, name: {{ .name }}, key: {{ .key }} }
{{- end }}{{ end }}
{{- with $values.dapr.appTokenSecret }}
- { variable: APP_API_TOKEN, name: {{ . }}, key: token }
{{- end }}
{{- with $values.dapr.apiTokenSecret }}
- { variable: DAPR_API_TOKEN, name: {{ . }}, key: token }
{{- end }}
{{- with $values.console.users.secret }}{{ if .name }}
- { variable: ORDER_WORKER_CONSOLE_USERS, name: {{ .name }}, key: {{ .key }} }
{{- end }}{{ end }}
{{- end }}

{{- define "order-worker.secretEnv" -}}
{{- $files := .Values.secretFiles }}
{{- range include "order-worker.secrets" . | fromYamlArray }}
{{- if $files }}
- { name: {{ .variable }}_FILE, value: /app/secrets/{{ .variable | lower | replace "_" "-" }} }
{{- else }}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: { name: {{ .name }}, key: {{ .key }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "order-worker.secretVolume" -}}
- name: secrets
  projected:
    # 0440: for the pod's group, which is the worker's.
    defaultMode: 288
    sources:
      {{- range include "order-worker.secrets" . | fromYamlArray }}
      - secret:
          name: {{ .name }}
          items: [{ key: {{ .key }}, path: {{ .variable | lower | replace "_" "-" }} }]
      {{- end }}
{{- end }}

{{/* For Jobs: as a variable. */}}
{{- define "order-worker.databaseUrl" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secret.name }}
      key: {{ .Values.database.secret.key }}
{{- end }}

{{/* The configuration: files/config.yaml with `config` over it. */}}
{{- define "order-worker.config" -}}
{{- $config := .Files.Get "files/config.yaml" | fromYaml }}
{{- include "order-worker.known" (dict "given" .Values.config "known" $config "path" "") }}
{{- toYaml (mergeOverwrite $config .Values.config) }}
{{- end }}

{{/* Refuses keys that files/config.yaml does not have, and sections where a value belongs. */}}
{{- define "order-worker.known" -}}
{{- $known := .known }}
{{- $path := .path }}
{{- range $key, $given := .given }}
{{- if not (hasKey $known $key) }}
{{- fail (printf "config.%s%s is not a key of the worker's configuration; %s has: %s" $path $key (ternary "its top" (printf "config.%s" (trimSuffix "." $path)) (empty $path)) (keys $known | sortAlpha | join ", ")) }}
{{- end }}
{{- $default := get $known $key }}
{{- if kindIs "map" $default }}
{{- if not (kindIs "map" $given) }}
{{- fail (printf "config.%s%s is a section: indent its keys below it: %s" $path $key (keys $default | sortAlpha | join ", ")) }}
{{- end }}
{{- include "order-worker.known" (dict "given" $given "known" $default "path" (printf "%s%s." $path $key)) }}
{{- else if or (kindIs "map" $given) (kindIs "slice" $given) }}
{{- fail (printf "config.%s%s is one value, as %s" $path $key (toJson $default)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port of an address, "host:port" or "http://host:port/path". */}}
{{- define "order-worker.port" -}}
{{- regexFind ":[0-9]+(/|$)" . | trimAll ":/" }}
{{- end }}

{{/* Milliseconds of a time as configuration and Dapr write it: "25s", "1m", "1m 30s", "500ms". */}}
{{- define "order-worker.milliseconds" -}}
{{- $milliseconds := 0 }}
{{- range regexFindAll "[0-9]+ *[a-z]+" (toString .) -1 }}
{{- $factor := get (dict "ms" 1 "s" 1000 "sec" 1000 "m" 60000 "min" 60000 "h" 3600000 "d" 86400000) (regexFind "[a-z]+" .) }}
{{- if not $factor }}
{{- fail (printf "%s is not a time that the chart can read: use ms, s, m, h or d, as in 25s" .) }}
{{- end }}
{{- $milliseconds = add $milliseconds (mul (regexFind "[0-9]+" . | int64) $factor) }}
{{- end }}
{{- $milliseconds }}
{{- end }}

{{/* The same in seconds, rounded up. */}}
{{- define "order-worker.seconds" -}}
{{- div (add (include "order-worker.milliseconds" . | int64) 999) 1000 }}
{{- end }}

{{/* What `config` holds at a path, or nothing. */}}
{{- define "order-worker.given" -}}
{{- $found := .config }}
{{- range splitList "." .path }}
{{- if kindIs "map" $found }}
{{- $found = get $found . }}
{{- else }}
{{- $found = "" }}
{{- end }}
{{- end }}
{{- with $found }}{{ . }}{{ end }}
{{- end }}

{{/* One rule of a NetworkPolicy: to these, at these ports and those of these addresses. */}}
{{- define "order-worker.egress" -}}
{{- $ports := .ports }}
{{- range .addresses }}
{{- with include "order-worker.port" . }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- end -}}
- {{ with .to }}to:
    {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    {{- $protocols := .protocols | default (list "TCP") }}
    {{- range $port := $ports | uniq }}
    {{- range $protocols }}
    - { port: {{ $port }}, protocol: {{ . }} }
    {{- end }}
    {{- end }}
{{- end }}

{{/* What a command needs: names and the database. */}}
{{- define "order-worker.databaseEgress" -}}
{{- $egress := .Values.networkPolicy.egress -}}
{{ include "order-worker.egress" (merge (dict "protocols" (list "UDP" "TCP")) $egress.dns) }}
{{ include "order-worker.egress" $egress.postgres }}
{{- end }}
