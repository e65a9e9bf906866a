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
app.kubernetes.io/name: {{ include "order-worker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "order-worker.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "order-worker.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Of the migration, a hook: it runs before the release's own is there. */}}
{{- define "order-worker.migrationServiceAccount" -}}
{{- include "order-worker.serviceAccount" . }}{{ if .Values.serviceAccount.create }}-migrate{{ end }}
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

{{/* Which mode runs: worker.args may name it. Arguments of anything else than the worker end the release. */}}
{{- define "order-worker.mode" -}}
{{- $named := dict "mode" .Values.mode }}
{{- $open := "" }}
{{- $words := (.Values.worker | default dict).args | default list }}
{{- if has (first $words) (list "/app/bin/worker" "worker") }}
{{- $words = rest $words }}
{{- end }}
{{- range $words }}
{{- if $open }}
{{- $_ := set $named $open . }}
{{- $open = "" }}
{{- else if regexMatch "^--?(conf|mode)$" . }}
{{- $open = trimPrefix "-" (trimPrefix "-" .) }}
{{- else if regexMatch "^--?(conf|mode)=" . }}
{{- $pair := splitn "=" 2 . }}
{{- $_ := set $named (trimPrefix "-" (trimPrefix "-" $pair._0)) $pair._1 }}
{{- else }}
{{- fail (printf "worker.args: %s is neither -conf nor -mode, and the worker is started with these two: what else it has to know goes into `config`, as keys of files/config.yaml" .) }}
{{- end }}
{{- end }}
{{- if $open }}
{{- fail (printf "worker.args: -%s has no value" $open) }}
{{- end }}
{{- if and $named.conf (ne $named.conf "/app/configs/config.yaml") }}
{{- fail (printf "worker.args: -conf is %s, but the chart mounts the configuration at /app/configs/config.yaml: put what differs from the default into `config`" $named.conf) }}
{{- end }}
{{- if not (has $named.mode (list "cron" "event" "all")) }}
{{- fail (printf "worker.args: -mode is %s, which is none of cron, event, all" $named.mode) }}
{{- end }}
{{- $named.mode }}
{{- end }}

{{/* Pods: what all of them share. */}}

{{/* A map without what was left out (null), every value as text: labels and annotations are texts, however YAML reads them. */}}
{{- define "order-worker.texts" -}}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}
{{- else if and (kindIs "float64" $value) (eq $value (floor $value)) }}
{{ $key }}: {{ $value | int64 | toString | quote }}
{{- else }}
{{ $key }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the chart has to make itself (fixed), and what is given beside it, which may say the same and nothing else.
     (dict "fixed" … "given" … "name" the value's name) */}}
{{- define "order-worker.beside" -}}
{{- $fixed := .fixed }}
{{- $name := .name }}
{{- range $key, $given := .given }}
{{- if and (hasKey $fixed $key) (ne $given (get $fixed $key)) }}
{{- fail (printf "%s: %s is %q, but the chart makes it %q of its other values: leave it out%s" $name $key $given (get $fixed $key) (get (dict "dapr.io/app-id" ", and set dapr.appId" "dapr.io/app-port" ", and set config.worker.eventbus.addr" "dapr.io/config" ", and set dapr.configuration.name" "dapr.io/block-shutdown-duration" ", and set dapr.shutdown.blockSeconds" "dapr.io/graceful-shutdown-seconds" ", and set dapr.shutdown.gracefulSeconds" "dapr.io/api-token-secret" ", and set dapr.apiTokenSecret" "dapr.io/app-token-secret" ", and set dapr.appTokenSecret") $key)) }}
{{- end }}
{{- end }}
{{- merge (dict) .fixed .given | toYaml }}
{{- end }}

{{/* Labels of a pod. (dict "root" $ "component" "worker") */}}
{{- define "order-worker.podLabels" -}}
{{- $fixed := include "order-worker.labels" .root | fromYaml }}
{{- $_ := set $fixed "app.kubernetes.io/component" .component }}
{{- include "order-worker.beside" (dict "fixed" $fixed "given" (include "order-worker.texts" .root.Values.podLabels | fromYaml) "name" "podLabels") }}
{{- end }}

{{/* Annotations of a pod that runs one command and ends: it has no sidecar, which would not end with it. */}}
{{- define "order-worker.commandAnnotations" -}}
{{- $given := include "order-worker.texts" .Values.podAnnotations | fromYaml }}
{{- range $key, $_ := $given }}
{{- if hasPrefix "dapr.io/" $key }}
{{- $_ := unset $given $key }}
{{- end }}
{{- end }}
{{- merge (dict "dapr.io/enabled" "false") $given | toYaml }}
{{- end }}

{{/* The beginning of a pod's spec. (dict "root" $ "serviceAccount" its name) */}}
{{- define "order-worker.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: false
# Otherwise Kubernetes puts ORDER_… variables of the Services around into the environment, where the worker looks for its own.
enableServiceLinks: false
{{- with include "order-worker.fields" $values.podSecurityContext }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* For a pod that runs one command and ends: a node like the workers', but not away from them. */}}
{{- define "order-worker.nodeAffinity" -}}
{{- with (.Values.affinity | default dict).nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* A map's fields without those that are left out: null. */}}
{{- define "order-worker.fields" -}}
{{- $kept := dict }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $kept $key $value }}
{{- end }}
{{- end }}
{{- with $kept }}{{ toYaml . }}{{ end }}
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
{{- with include "order-worker.fields" $values.securityContext }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
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
{{- with $values.console.sessionKey.secret }}{{ if .name }}
- { variable: ORDER_WORKER_CONSOLE_SESSIONKEY, name: {{ .name }}, key: {{ .key }} }
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
    {{- if dig "fsGroup" "" (.Values.podSecurityContext | default dict) }}
    # 0440: for the pod's group, which is the worker's.
    defaultMode: 288
    {{- else }}
    # 0444: which group the files belong to is not known here. No other container of the pod mounts them.
    defaultMode: 292
    {{- end }}
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
{{- include "order-worker.known" (dict "given" (.Values.config | default dict) "known" $config "path" "") }}
{{- /* The sidecar's consumer group is its app id, unless the component has a consumerID: `config` says that. */}}
{{- $_ := set $config.worker.reconcile "group" .Values.dapr.appId }}
{{- toYaml (mergeOverwrite $config (.Values.config | default dict)) }}
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
