"""gatepost: a transparent, TLS-enforcing SMTP proxy.

The words, one meaning each:

- *client* and *upstream* are the two *legs*; a leg's *channel* is clear or TLS.
- A *conversation* is one client connection and the upstream connection that belongs to it.
- A *phase* is where a conversation stands; a *verb* is an SMTP command word; a *reply* is what a server says.
- A *refusal* is a reply of our own. To *relay* is to pass on unchanged, to *rewrite* is to pass on changed.
- *Evidence* is what a SASL exchange taught us; a *plan* is how evidence becomes the upstream's AUTH.
- A *fact* is something that happened; `observe` turns facts into metrics and log events.

Read in this order: `session/phases.py` (the table of what is allowed when), `session/machine.py` (how bytes become
actions), `net/conversation.py` (the loop that performs them), `app` (how it is put together).
"""

__version__ = "0.1.0"
