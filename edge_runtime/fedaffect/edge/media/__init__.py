"""From files, bytes and arrays to what an encoder takes: decoded, cropped, resampled, levelled."""
