"""What the server does about updates that are broken or meant to harm."""
