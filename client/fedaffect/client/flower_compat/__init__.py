"""Every touch of Flower's private modules on the client's side; import-linter refuses them elsewhere.

What Flower promises (``flwr.app``, ``flwr.serverapp``, ``flwr.clientapp``, ``run_simulation``) may be used anywhere.
docs/architecture/flower.md says what each module here needs of Flower, and which tests notice when it moves.
"""
