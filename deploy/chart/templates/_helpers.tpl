{{/* Names, labels and what every pod has. */}}

{{- define "fedaffect.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of one part, chosen by (dict "root" $ "component" "…"). */}}
{{- define "fedaffect.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "fedaffect.labels" -}}
{{ include "fedaffect.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Labels of a pod; "registry" true lets it reach the database. */}}
{{- define "fedaffect.podLabels" -}}
{{ include "fedaffect.selector" . }}
{{- if .registry }}
fedaffect/registry: "true"
{{- end }}
{{- with .root.Values.pods.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fedaffect.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "fedaffect.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "fedaffect.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* What all pods say of themselves, hooks too, which start before the chart's own account is there. */}}
{{- define "fedaffect.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace | default .root.Values.pods.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .root.Values.pods.user }}
  runAsGroup: {{ .root.Values.pods.user }}
  fsGroup: {{ .root.Values.pods.user }}
  # Else each start would open private keys on the volume to the group, and the fleet refuses such keys.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .place }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fedaffect.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Folders that programs write to, all of them on volumes. */}}
{{- define "fedaffect.folders" -}}
- name: HOME
  value: /tmp
- name: USER
  value: fedaffect
- name: FEDAFFECT_DATA
  value: /var/lib/fedaffect
- name: FEDAFFECT_CACHE
  value: /tmp/cache
- name: FEDAFFECT_CONFIG
  value: /var/lib/fedaffect/config
- name: ORT_DISABLE_TELEMETRY
  value: "1"
{{- end -}}

{{/* Host, user and password stand in a file: no program writes them down, and new connections see a changed Secret. */}}
{{- define "fedaffect.registryEnv" -}}
- name: FEDAFFECT_REGISTRY
  value: postgresql+psycopg:///?service=registry
- name: PGSERVICEFILE
  value: /etc/fedaffect/registry/pg_service.conf
{{- end -}}

{{- define "fedaffect.registryMount" -}}
- name: registry
  mountPath: /etc/fedaffect/registry
  readOnly: true
{{- end -}}

{{- define "fedaffect.registryVolume" -}}
- name: registry
  secret:
    secretName: {{ required "registry.secretName is empty; make a Secret of a pg_service.conf whose section [registry] has host, dbname, user and password, and name it: kubectl create secret generic fedaffect-registry --from-file=pg_service.conf" .Values.registry.secretName }}
    defaultMode: 0440
    items:
      - key: {{ .Values.registry.secretKey }}
        path: pg_service.conf
{{- end -}}

{{- define "fedaffect.scratchMounts" -}}
- name: tmp
  mountPath: /tmp
- name: data
  mountPath: /var/lib/fedaffect
{{- end -}}

{{- define "fedaffect.scratch" -}}
- name: tmp
  emptyDir: {}
- name: data
  emptyDir: {}
{{- end -}}

{{- define "fedaffect.inferenceName" -}}
{{ include "fedaffect.fullname" . }}-inference
{{- end -}}

{{/* The Service and port that a route leads to: ours, or the one that KubeRay makes for a RayService. */}}
{{- define "fedaffect.inferenceService" -}}
{{- if eq .Values.inference.kind "rayservice" -}}
{{ include "fedaffect.inferenceName" . }}-serve-svc
{{- else -}}
{{ include "fedaffect.inferenceName" . }}
{{- end -}}
{{- end -}}

{{- define "fedaffect.inferencePort" -}}
{{- if eq .Values.inference.kind "rayservice" -}}8000{{- else -}}8080{{- end -}}
{{- end -}}
