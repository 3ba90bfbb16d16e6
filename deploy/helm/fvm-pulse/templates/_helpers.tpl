{{- define "fvm-pulse.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "fvm-pulse.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fvm-pulse.labels" -}}
{{ include "fvm-pulse.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "fvm-pulse.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* What every process of ours runs in: (dict "root" $ "command" "worker" "resources" … "data" true) */}}
{{- define "fvm-pulse.pod" -}}
{{- $values := .root.Values -}}
{{- $kafka := $values.kafka -}}
{{- $publishes := has .command (list "follow" "worker") -}}
{{- $sasl := and $publishes (hasPrefix "SASL" $kafka.securityProtocol) -}}
{{- $tls := and $publishes $kafka.tls.existingSecret -}}
{{- $listen := $values.listen -}}
{{- $probe := dict "path" "/healthz" "port" "http" -}}
{{- if $listen.tls.existingSecret }}{{ $probe = set $probe "scheme" "HTTPS" }}{{ end -}}
{{- $tokens := and $values.tokens.existingSecret (has .command (list "run" "follow")) -}}
metadata:
  labels:
    {{- include "fvm-pulse.selector" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .command }}
  annotations:
    # a changed configuration starts the pods again
    checksum/config: {{ $values.config | sha256sum }}
    {{- with $values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  serviceAccountName: {{ include "fvm-pulse.name" .root }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: 40
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "fvm-pulse.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ .command }}
  containers:
    - name: fvm-pulse
      image: {{ include "fvm-pulse.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ .command }}]
      env:
        - {name: FVM_PULSE_CONFIG, value: /etc/fvm-pulse/fvm-pulse.toml}
        {{- if $values.redis.existingSecret }}
        - name: FVM_PULSE_REDIS_URL
          valueFrom:
            secretKeyRef: {name: {{ $values.redis.existingSecret }}, key: {{ $values.redis.key }}}
        {{- else if $values.redis.url }}
        - {name: FVM_PULSE_REDIS_URL, value: {{ $values.redis.url | quote }}}
        {{- end }}
        {{- if $publishes }}
        - {name: FVM_PULSE_KAFKA_BROKERS, value: {{ join "," $kafka.brokers | quote }}}
        - {name: FVM_PULSE_KAFKA_SECURITY_PROTOCOL, value: {{ $kafka.securityProtocol }}}
        {{- end }}
        {{- if $sasl }}
        - {name: FVM_PULSE_KAFKA_SASL_MECHANISM, value: {{ $kafka.saslMechanism }}}
        - {name: FVM_PULSE_KAFKA_USERNAME, value: {{ $kafka.username | quote }}}
        - {name: FVM_PULSE_KAFKA_PASSWORD_FILE, value: /run/secrets/kafka/password}
        {{- end }}
        {{- if $tls }}
        - {name: FVM_PULSE_KAFKA_CA_FILE, value: /run/secrets/kafka-tls/ca.crt}
        {{- if $kafka.tls.clientCertificate }}
        - {name: FVM_PULSE_KAFKA_CERTIFICATE_FILE, value: /run/secrets/kafka-tls/tls.crt}
        - {name: FVM_PULSE_KAFKA_KEY_FILE, value: /run/secrets/kafka-tls/tls.key}
        {{- end }}
        {{- end }}
        {{- if $listen.existingSecret }}
        - name: FVM_PULSE_LISTEN_USERNAME
          valueFrom:
            secretKeyRef: {name: {{ $listen.existingSecret }}, key: username}
        - {name: FVM_PULSE_LISTEN_PASSWORD_FILE, value: /run/secrets/listen/password}
        {{- end }}
        {{- if $listen.tls.existingSecret }}
        - {name: FVM_PULSE_LISTEN_CERTIFICATE_FILE, value: /run/secrets/listen-tls/tls.crt}
        - {name: FVM_PULSE_LISTEN_KEY_FILE, value: /run/secrets/listen-tls/tls.key}
        {{- end }}
        {{- if $tokens }}
        {{- $files := list }}
        {{- range $values.tokens.nodes }}{{ $files = append $files (printf "%s=/run/secrets/fvm-pulse/%s" . .) }}{{ end }}
        - {name: FVM_PULSE_TOKEN_FILES, value: {{ join "," $files | quote }}}
        {{- end }}
      ports:
        - {name: http, containerPort: 9464}
      # alive says nothing of Redis or the node: starting again would mend neither
      livenessProbe:
        httpGet: {{ toJson $probe }}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 3
      startupProbe:
        httpGet: {{ toJson $probe }}
        periodSeconds: 2
        failureThreshold: 60
      # not /readyz: the page must stay reachable when it has to say that the node or Redis is away
      readinessProbe:
        httpGet: {{ toJson $probe }}
        periodSeconds: 10
        timeoutSeconds: 6
      resources: {{ toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/fvm-pulse, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        - {name: data, mountPath: /var/lib/fvm-pulse}
        {{- if $tokens }}
        - {name: tokens, mountPath: /run/secrets/fvm-pulse, readOnly: true}
        {{- end }}
        {{- if $sasl }}
        - {name: kafka, mountPath: /run/secrets/kafka, readOnly: true}
        {{- end }}
        {{- if $tls }}
        - {name: kafka-tls, mountPath: /run/secrets/kafka-tls, readOnly: true}
        {{- end }}
        {{- if $listen.existingSecret }}
        - {name: listen, mountPath: /run/secrets/listen, readOnly: true}
        {{- end }}
        {{- if $listen.tls.existingSecret }}
        - {name: listen-tls, mountPath: /run/secrets/listen-tls, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "fvm-pulse.name" .root }}}
    - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
    {{- if not .claim }}
    - {name: data, emptyDir: {sizeLimit: 64Mi}}
    {{- end }}
    {{- if $tokens }}
    - name: tokens
      secret:
        secretName: {{ $values.tokens.existingSecret }}
        defaultMode: 0440
        items:
          {{- range $values.tokens.nodes }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
    {{- end }}
    {{- if $sasl }}
    - name: kafka
      secret:
        secretName: {{ $kafka.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ $kafka.key }}, path: password}]
    {{- end }}
    {{- if $tls }}
    - name: kafka-tls
      secret: {secretName: {{ $kafka.tls.existingSecret }}, defaultMode: 0440}
    {{- end }}
    {{- if $listen.existingSecret }}
    - name: listen
      secret:
        secretName: {{ $listen.existingSecret }}
        defaultMode: 0440
        items: [{key: password, path: password}]
    {{- end }}
    {{- if $listen.tls.existingSecret }}
    - name: listen-tls
      secret: {secretName: {{ $listen.tls.existingSecret }}, defaultMode: 0440}
    {{- end }}
{{- end }}
