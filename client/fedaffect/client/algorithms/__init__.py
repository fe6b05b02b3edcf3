"""What a local algorithm changes in the one training loop: its loss, its gradients, what it sends along."""
