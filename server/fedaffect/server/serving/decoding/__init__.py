"""Files that callers sent, decoded in processes that can be killed."""
