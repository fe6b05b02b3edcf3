{{/* A pod of a Ray cluster; KubeRay puts the command that starts Ray before it.
     (dict "root" $ "component" "…" "container" "ray-head" "resources" … "gpus" 0 "place" … "volumes" … "mounts" … "registry" false) */}}
{{- define "fedaffect.rayPod" -}}
metadata:
  labels:
    {{- include "fedaffect.podLabels" . | nindent 4 }}
  {{- with .root.Values.pods.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- /* The head's autoscaler asks the Kubernetes API with an account that KubeRay makes and names. */}}
  {{- $basics := include "fedaffect.podBasics" (dict "root" .root "place" .place) }}
  {{- if eq .container "ray-head" }}
  {{- $basics = $basics | replace "automountServiceAccountToken: false" "automountServiceAccountToken: true" }}
  {{- end }}
  {{- $basics | nindent 2 }}
  containers:
    - name: {{ .container }}
      image: {{ include "fedaffect.image" (dict "root" .root "image" .root.Values.ray.image) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      env:
        {{- include "fedaffect.folders" .root | nindent 8 }}
        {{- if .registry }}
        {{- include "fedaffect.registryEnv" .root | nindent 8 }}
        {{- end }}
        # Ray tells its makers how it is used, unless told not to.
        - name: RAY_USAGE_STATS_ENABLED
          value: "0"
      ports:
        {{- if eq .container "ray-head" }}
        - name: gcs
          containerPort: 6379
        - name: dashboard
          containerPort: 8265
        {{- end }}
        - name: metrics
          containerPort: 8080
        {{- if .serves }}
        - name: serve
          containerPort: 8000
        {{- end }}
      securityContext:
        {{- include "fedaffect.containerSecurity" .root | nindent 8 }}
      resources:
        {{- $resources := deepCopy .resources }}
        {{- if gt (int .gpus) 0 }}
        {{- $_ := set $resources "limits" (merge (dict .root.Values.inference.gpuResource (toString .gpus)) ($resources.limits | default dict)) }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        {{- include "fedaffect.scratchMounts" .root | nindent 8 }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "fedaffect.scratch" .root | nindent 4 }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What a head starts with, and the autoscaler beside it. */}}
{{- define "fedaffect.rayHead" -}}
rayVersion: {{ .root.Values.ray.version | quote }}
enableInTreeAutoscaling: true
autoscalerOptions:
  version: v2
  upscalingMode: Default
  idleTimeoutSeconds: 120
  securityContext:
    {{- include "fedaffect.containerSecurity" .root | nindent 4 }}
  resources:
    requests: {cpu: 200m, memory: 512Mi}
    limits: {memory: 512Mi}
headGroupSpec:
  rayStartParams:
    dashboard-host: 0.0.0.0
    # Nothing of ours runs on the head, which all others depend on.
    num-cpus: "0"
  template:
    {{- include "fedaffect.rayPod" (merge (dict "container" "ray-head" "resources" .root.Values.ray.head.resources "gpus" 0 "place" .root.Values.ray.head) .) | nindent 4 }}
{{- end -}}
