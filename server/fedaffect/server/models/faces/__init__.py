"""The project's own face-expression networks: a teacher for the cloud, a student for devices."""
