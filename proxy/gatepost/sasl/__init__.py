"""SASL (RFC 4422): one generator for each mechanism and role, what they teach us, and what becomes of it upstream."""
