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
  {{- /* Each node's raylet; of the head what all processes register with; of a machine that serves its HTTP proxy. */}}
  {{- $alive := list "http://localhost:52365/api/local_raylet_healthz" }}
  {{- if eq .container "ray-head" }}{{ $alive = append $alive "http://localhost:8265/api/gcs_healthz" }}{{ end }}
  {{- $ready := $alive }}
  {{- if and (eq .container "ray-worker") .serves }}{{ $ready = append $alive "http://localhost:8000/-/healthz" }}{{ end }}
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
      # KubeRay's own ask by wget, which the image has not.
      livenessProbe:
        exec: {command: {{ include "fedaffect.rayProbe" (dict "urls" $alive) }}}
        initialDelaySeconds: 30
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 12
      readinessProbe:
        exec: {command: {{ include "fedaffect.rayProbe" (dict "urls" $ready) }}}
        initialDelaySeconds: 10
        periodSeconds: 5
        timeoutSeconds: 10
        failureThreshold: {{ ternary 1 12 (and (eq .container "ray-worker") (hasKey . "serves")) }}
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
        {{- if .registry }}
        {{- include "fedaffect.registryMount" .root | nindent 8 }}
        {{- end }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "fedaffect.scratch" .root | nindent 4 }}
    {{- if .registry }}
    {{- include "fedaffect.registryVolume" .root | nindent 4 }}
    {{- end }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* A command that asks addresses of Ray, each of which answers "success". */}}
{{- define "fedaffect.rayProbe" -}}
{{- $program := "import sys, urllib.request; sys.exit(any(b'success' not in urllib.request.urlopen(url, timeout=4).read() for url in sys.argv[1:]))" -}}
{{- concat (list "python" "-c" $program) .urls | toJson -}}
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
