"""TLS for tests: a certificate authority of their own, and a front that takes TLS and speaks plain to a Unix socket."""

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


class Authority:
    """A certificate authority in `folder`, with a certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("there is no openssl on PATH to make certificates with")
        self.ca, self.key, self.certificate = (folder / name for name in ("ca.pem", "server.key", "server.pem"))
        extensions = folder / "extensions"
        # What Python 3.13 demands of certificates.
        extensions.write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        itself = ("-subj", "/CN=test CA", *usage)
        self._openssl(folder, "req", "-x509", *curve, *itself, "-keyout", "ca.key", "-out", "ca.pem")
        self._openssl(folder, "req", *curve, "-subj", "/CN=redis", "-keyout", "server.key", "-out", "server.csr")
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions")
        self._openssl(folder, "x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem")

    @staticmethod
    def _openssl(folder: Path, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class TlsFront:
    """Takes TLS connections on a TCP port of its own and carries them to a Unix socket."""

    def __init__(self, target: Path, authority: Authority) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.certificate, authority.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        """Carry what comes from either side to the other."""
        with near, socket.socket(socket.AF_UNIX) as far, contextlib.suppress(OSError):
            far.connect(str(self._target))
            with self._context.wrap_socket(near, server_side=True) as secure:
                others = {secure: far, far: secure}
                while True:
                    # A TLS record that came with another one is in no socket any more.
                    readable = [secure] if secure.pending() else select.select([secure, far], [], [])[0]
                    for end in readable:
                        data = end.recv(1 << 20)
                        if not data:
                            return
                        others[end].sendall(data)
