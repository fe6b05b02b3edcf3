"""What a researcher studies: many clients on one machine or a cluster."""
