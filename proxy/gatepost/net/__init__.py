"""The shell: sockets, TLS, tasks and time, on Trio. It does what the machine says and tells it what came."""
