"""How a device and its aggregator speak: signed requests and long polls."""
