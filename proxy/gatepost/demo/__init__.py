"""The demonstration: gatepost in front of a small legacy server, with a client that shows what is said.

`legacy.py` is the server behind, `certificates.py` makes what TLS needs, `client.py` speaks as a mail program does,
`screen.py` prints, `stage.py` sets everything up, `scenario.py` plays the steps and checks that each really happened.
"""
