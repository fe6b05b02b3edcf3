"""Films: sent in pieces, decoded as a stream, judged window by window, and forgotten; and what people keep of it."""
