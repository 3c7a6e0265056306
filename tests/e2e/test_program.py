"""The program by itself: readiness that follows the upstream, and certificates that are renewed under it."""

import socket
from pathlib import Path

from e2e.gateway import running
from gatehouse import certificates, free_port


def test_it_is_ready_when_the_upstream_is(tmp_path: Path) -> None:
    certificates(tmp_path)
    nobody = free_port()
    with running(tmp_path, {"address": f"127.0.0.1:{nobody}", "tls": "never", "probe_seconds": 1}) as gate:
        gate.event("upstream down")
        assert gate.page("/readyz") == (503, "upstream: unreachable\n")
        with socket.create_server(("127.0.0.1", nobody)) as listening:
            probe, _ = listening.accept()
            with probe:
                probe.sendall(b"220 legacy\r\n")
                assert probe.recv(1000).startswith(b"EHLO")
                probe.sendall(b"250-legacy\r\n250 AUTH PLAIN\r\n")
                assert probe.recv(1000) == b"QUIT\r\n"
                probe.sendall(b"221 bye\r\n")
            gate.event("upstream up")
            assert gate.page("/readyz") == (200, "ready\n")


def test_new_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    certificates(tmp_path)
    upstream = {"address": f"127.0.0.1:{free_port()}", "tls": "never", "probe_seconds": 3600}
    with running(tmp_path, upstream) as gate:
        here = len(gate.log.lines(0))
        certificates(tmp_path, "renewed.example")
        assert gate.event("certificate loaded", here)["file.path"] == str(tmp_path / "cert.pem")
        assert 'name="renewed.example"' in gate.page("/metrics")[1]
        taken, good = "gatepost_certificate_last_reload_successful", tmp_path / "key.good"
        (tmp_path / "key.pem").rename(good)
        (tmp_path / "key.pem").write_text("no key")
        gate.event("certificates refused", here)
        assert f"\n{taken} 0.0\n" in gate.page("/metrics")[1]
        assert gate.page("/readyz")[1] == "upstream: unreachable\n"  # and no word of the certificate, which is good
        here = len(gate.log.lines(0))
        good.rename(tmp_path / "key.pem")  # the very file that it knows: nothing is loaded anew
        gate.event("certificate loaded", here)
        assert f"\n{taken} 1.0\n" in gate.page("/metrics")[1]
