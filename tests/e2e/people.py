"""Who has an account at the legacy server, and what is written."""

USER = "alice"
PASSWORD = "Zwoelf-Boxkaempfer.4711"

HEADER = (
    b"From: Ann <ann@example.org>\r\n"
    b"To: Bob <bob@example.com>\r\n"
    b"Subject: end to end\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <end.to.end@example.org>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
)
# What is easily broken on the way: octets above 127, dots where lines begin, lines longer than any buffer.
TRICKY = HEADER + (
    "Übergröße, 漢字, \N{PILE OF POO}\r\n".encode()
    + b"latin-1: \xfc\xdf\x80\xff\r\n"
    + b".\r\n..\r\n. dot\r\n.dot\r\n...\r\n\r\n.\r\n"
    + b"x" * 998 + b"\r\n"
    + b"." * 5000 + b"\r\n"
    + b"long " * 8000 + b"\r\n"
    + b"\r\n\r\nthe end\r\n"
)  # fmt: skip


def large(size: int) -> bytes:
    """A message of lines that all differ, at least `size` octets."""
    lines = (b"%09d " % number + b"abcdefgh" * 8 + b"\r\n" for number in range(size // 76 + 1))
    return HEADER + b"".join(lines)
