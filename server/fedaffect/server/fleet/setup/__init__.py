"""The operator's folder: settings, certificate authority, TLS; and starting the server's processes."""
