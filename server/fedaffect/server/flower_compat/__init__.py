"""Every touch of Flower's private modules on the server's side; import-linter refuses them elsewhere.

docs/architecture/flower.md says what each module here needs of Flower, and which tests notice when it moves.
"""
