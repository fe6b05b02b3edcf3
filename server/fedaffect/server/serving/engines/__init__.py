"""What computes answers: in this process or as Ray Serve deployments, one model version or several."""
