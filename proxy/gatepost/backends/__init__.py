"""Answers to what the core may not find out itself: the users file, hashing, and the identity provider."""
