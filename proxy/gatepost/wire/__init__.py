"""SMTP on the wire: decoding and encoding, nothing of what it means. Bytes in, values out; no I/O (RFC 5321)."""
